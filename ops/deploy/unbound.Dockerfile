# The resolver of docker-compose.yml. Build it with ops/deploy as the context.
FROM debian:bookworm-slim

# dns-root-data has the root's keys. Unbound rewrites its copy when they change.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends unbound dns-root-data \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o unbound -g unbound /var/lib/unbound \
 && install -o unbound -g unbound -m 644 /usr/share/dns/root.key /var/lib/unbound/root.key

COPY unbound.conf unbound-compose.conf /etc/unbound/

# It binds port 53 and then becomes the user unbound.
ENTRYPOINT ["/usr/sbin/unbound", "-d", "-p"]
CMD ["-c", "/etc/unbound/unbound-compose.conf"]
