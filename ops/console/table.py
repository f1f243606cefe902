"""The pages of the console: what is served, and in this order what stands in the navigation."""

from ops.console import login, overview, rates, resolvers
from ops.console.page import Page

PAGES = (
    Page("GET", "/", overview.show, "overview.html", "Overview", nav="Overview"),
    Page("GET", "/rates", rates.show),
    Page("GET", "/resolvers", resolvers.show, "resolvers.html", "Resolvers", nav="Resolvers"),
    Page("POST", "/resolvers/test", resolvers.test, "resolvers.html", "Resolvers", acts=True),
    Page("GET", "/login", login.show, "login.html", "Log in", open=True),
    Page("POST", "/login", login.enter, "login.html", "Log in", open=True),
    Page("POST", "/logout", login.leave),
)
