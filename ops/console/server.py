"""The application of the web console: who may come in, what the pages answer, and what goes wrong told as a page.

A request is answered under the names of the console alone, so that no other site can point a name of its own at it (DNS
rebinding). Other sites may link to a page, and neither load one as a part of theirs nor show it in a frame (Fetch
Metadata), so that none makes a browser ask for what is costly. What changes anything must come from a page of ours: by
its Origin, and by the token in its form. The Content-Security-Policy lets in nothing but our own files. What is refused
is an event (`console.refused`).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.console.chores import Chores
from ops.console.page import SAID, Call, Form, Page, Refused, said
from ops.console.rendering import Files, Templates
from ops.console.table import PAGES
from ops.console.visitors import Visitor, remember, visitor_of
from ops.hands import NotThere
from ops.inert import inert
from ops.serving import serve
from pipeline import log
from pipeline.console import Console
from pipeline.spine import Spine, utc_now
from pipeline.store.connection import StoreFull, StoreUnavailable
from pipeline.store.users import UserStore

_THREADS = 16  # more than all seats for work in threads, so that nobody waits to log in while others wait for DNS
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with less, browsers would not tell the origin of forms
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def hosts(settings: Console) -> frozenset[str]:
    """Name the hosts under which the console answers, without ports."""
    literal = ipaddress.ip_address(settings.place[0])
    own = f"[{literal}]" if literal.version == 6 else str(literal)
    return frozenset({"localhost", "127.0.0.1", "[::1]", own, *settings.names})


class _Door:
    """Looks at the host of a request before anything else, and puts our headers on each answer."""

    def __init__(self, inner: ASGIApp, settings: Console) -> None:
        self._inner = inner
        self._hosts = hosts(settings)
        self._beyond = settings.beyond_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", "no-store")
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        host = Request(scope).headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name not in self._hosts:
            _refused(Request(scope), "", 421, f"a request for the host {host}, which is none of console.names")
            text = "danepipe: the console does not answer under this name; console.names says under which it does\n"
            await Response(text, 421, media_type="text/plain")(scope, receive, guarded)
        elif self._in_clear(Request(scope)):
            _refused(Request(scope), "", 403, "a request in clear text from another machine")
            text = "danepipe: from other machines the console is reached over TLS alone (X-Forwarded-Proto: https)\n"
            await Response(text, 403, media_type="text/plain")(scope, receive, guarded)
        elif _is_part_of_another_site(Request(scope)):
            _refused(Request(scope), "", 403, "a request for a part of a page of another site")
            text = "danepipe: pages of other sites may link to the console, and not hold it\n"
            await Response(text, 403, media_type="text/plain")(scope, receive, guarded)
        else:
            await self._inner(scope, receive, guarded)

    def _in_clear(self, request: Request) -> bool:
        """Tell whether somebody comes past the proxy that ends TLS, or the proxy does not say that it does."""
        if not self._beyond or request.url.scheme == "https" or request.client is None:
            return False
        try:
            return not ipaddress.ip_address(request.client.host).is_loopback
        except ValueError:  # a proxy may name anything
            return True


def _is_part_of_another_site(request: Request) -> bool:
    """Tell whether a page of another origin asks, and not for a link that a person follows. Old browsers do not say."""
    headers = request.headers
    if headers.get("sec-fetch-site", "none") in {"same-origin", "none"}:
        return False
    # a form of another site comes as a link does, and is refused with a page that says so
    return headers.get("sec-fetch-mode") != "navigate" or headers.get("sec-fetch-dest") != "document"


def _refused(request: Request, who: str, status: int, text: str) -> None:
    log.emit(
        "console.refused", level="warning", who=who, peer=request.client.host if request.client else "",
        method=inert(request.method)[:20], path=inert(request.url.path)[:200], status=status, text=inert(text)[:500],
    )  # fmt: skip


class Idle:
    """Knows for how long nobody has asked for anything, and nothing that was asked for is under way."""

    def __init__(self, inner: ASGIApp, chores: Chores) -> None:
        self._inner = inner
        self._chores = chores
        self._busy = 0
        self._last = asyncio.get_running_loop().time()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        self._busy += 1
        try:
            await self._inner(scope, receive, send)
        finally:
            self._busy -= 1
            self._last = asyncio.get_running_loop().time()

    async def over(self, patience: float) -> None:
        """Return when nobody has asked for so many seconds."""
        loop = asyncio.get_running_loop()
        while self._busy or self._chores.is_busy or self._last + patience > loop.time():  # noqa: ASYNC110 - the end of a wait is no event
            await asyncio.sleep(min(1.0, patience))


class Site:
    """All that the pages share."""

    def __init__(self, spine: Spine, chores: Chores) -> None:
        self.spine = spine
        self.chores = chores
        self.files = Files()
        self.templates = Templates(self.files)
        self.users = UserStore(spine.redis)

    def page(self, call: Call, page: Page, values: Mapping[str, Any], status: int = 200) -> Response:
        """Render a page."""
        known = {
            "call": call, "page": page, "title": page.title, "said": said(call.request), "now": utc_now(),
            "hostname": self.spine.config.hostname,
            "nav": [one for one in PAGES if one.nav] if call.who else [],
        }  # fmt: skip
        response = HTMLResponse(self.templates.render(page.template, {**known, **values}), status)
        if known["said"]:
            response.delete_cookie(SAID)
        if call.visitor.is_new:
            remember(call.request, response, call.visitor.secret)
        return response

    def fault(self, call: Call, status: int, text: str) -> Response:
        """Say as a page that a request was not done, and why."""
        shown = Page(call.request.method, call.request.url.path, _nothing, "error.html", HTTPStatus(status).phrase)
        return self.page(call, shown, {"status": status, "text": text}, status)


async def _nothing(_call: Call) -> Mapping[str, Any]:
    return {}


class _Resource:
    """One path: chooses the page by the method, and turns what is raised into pages."""

    def __init__(self, site: Site, pages: Sequence[Page]) -> None:
        self._site = site
        self._pages = {page.method: page for page in pages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        call = Call(self._site.spine, request, Visitor(""), self._site.chores)
        try:
            answer = await self._answered(call)
        except Refused as refused:
            if refused.status in {401, 403, 421, 429}:
                _refused(request, call.who, refused.status, str(refused))
            answer = self._site.fault(call, refused.status, str(refused))
            answer.headers.update(refused.headers)
        except NotThere as gone:
            answer = self._site.fault(call, 404, str(gone))
        except StoreFull as error:
            answer = self._site.fault(call, 503, f"The queue is full: {error}.")
        except StoreUnavailable as error:
            log.emit("redis.unavailable", level="error", text=str(error))
            answer = self._site.fault(call, 503, f"Redis cannot be reached: {error}. Mail waits until it is back.")
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - a fault of ours: a page says so, and the log says what
            log.emit("stage.error", level="error", stage="console", group="", error=repr(error))
            answer = self._site.fault(call, 500, "An error on our side; the log says which (event stage.error).")
        await answer(scope, receive, send)

    async def _answered(self, call: Call) -> Response:
        request, site = call.request, self._site
        call.visitor = await visitor_of(request, site.users, call.config.console)
        method = "GET" if request.method == "HEAD" else request.method
        if method not in self._pages:
            allowed = ", ".join(sorted(self._pages))
            raise Refused(405, f"This page knows {allowed} alone.", headers={"Allow": allowed})
        page = self._pages[method]
        if method == "POST":
            await _check_form(call)
        if not call.who and not page.open:
            return _to_login(request)
        if page.acts and not call.visitor.may_act:
            raise Refused(403, f"The user {call.who} may look, and may not act.")
        answer = await page.handler(call)
        return answer if isinstance(answer, Response) else site.page(call, page, answer)


async def _check_form(call: Call) -> None:
    """Read a form that was made here, for this browser. Raises `Refused` for any other."""
    origin = call.request.headers.get("origin", "").lower()
    scheme, _, host = origin.partition("://")
    # over TLS, a page in clear text is another site: whoever sits on the way could have written it
    if host != call.request.headers.get("host", "").lower() or (call.secure and scheme != "https"):
        raise Refused(403, "This form was sent from a page of another site, and nothing was done.")
    call.form = await Form.of(call.request, call.config)
    if not call.visitor.owns(call.form.text("token")):
        raise Refused(
            403, "This form is out of date, and nothing was done. Go back, load the page anew, and try again."
        )


def _to_login(request: Request) -> Response:
    wanted = request.url.path if request.method in {"GET", "HEAD"} else "/"
    place = f"/login?next={quote(wanted, safe='/')}" if wanted != "/" else "/login"
    if request.headers.get("hx-request") == "true":  # a part of a page: the whole page is to go there
        return Response(status_code=401, headers={"HX-Redirect": place})
    return RedirectResponse(place, 303)


def application(spine: Spine, chores: Chores) -> ASGIApp:
    """Make the application."""
    site = Site(spine, chores)
    paths: dict[str, list[Page]] = {}
    for page in PAGES:
        paths.setdefault(page.path, []).append(page)
    routes = [Route(path, _Resource(site, pages)) for path, pages in paths.items()]
    routes.append(Route("/static/{name:path}", site.files.answer))
    elsewhere = _Resource(site, [Page("GET", "", _missing)])

    async def missing(_request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.status_code == 405:
            return Response("only GET\n", 405, headers=error.headers, media_type="text/plain")
        return elsewhere  # type: ignore[return-value] # an ASGI application answers as a response does

    made = Starlette(routes=routes, exception_handlers={404: missing, 405: missing})
    made.router.redirect_slashes = False
    return _Door(made, spine.config.console)


async def _missing(_call: Call) -> Mapping[str, Any]:
    raise Refused(404, "There is no such page.")


async def serve_console(
    spine: Spine, ended: Awaitable[object], opened: socket.socket, *, ends_idle: bool = False
) -> None:
    """Serve on the socket until `ended` is done, or, if so wanted, until nobody asks any more."""
    settings = spine.config.console
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, "console"))
    address, port = opened.getsockname()[:2]
    log.emit("console.started", address=address, port=port, tls=settings.certificate is not None)
    chores = Chores(spine)
    watched = Idle(application(spine, chores), chores)
    ending = [asyncio.ensure_future(ended)]
    if ends_idle:
        ending.append(asyncio.ensure_future(watched.over(settings.idle.total_seconds())))

    async def over() -> None:
        await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        chores.end()

    await serve(watched, settings, over(), opened)
    await chores.stop()
    for one in ending:
        one.cancel()
