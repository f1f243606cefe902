/* The far end of the comparison: an SMTP server that takes every message over STARTTLS and keeps none.
 *
 *     sink ADDRESS PORT PEM THREADS
 *
 * It says "ready" when it listens. Each line on standard input is answered by one line: messages taken, connections
 * accepted, nanoseconds of CLOCK_MONOTONIC at the last 250. It ends with its standard input. Replies to a group of
 * commands go out together (RFC 2920 section 3.2).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { IN_SIZE = 65536, OUT_SIZE = 4096, EVENTS = 128 };
enum state { COMMANDS, CONTENT, HANDSHAKE };
enum outcome { GO_ON, CLOSE };

struct client {
  int fd;
  enum state state;
  SSL *ssl;
  size_t in_used, out_used;
  char out[OUT_SIZE];
  char in[IN_SIZE];
};

static SSL_CTX *context;
static int listener;
static atomic_ullong messages, connections, last;

static const char END[] = "\r\n.\r\n";
static const size_t END_SIZE = sizeof END - 1;

static void say(struct client *client, const char *text) {
  size_t size = strlen(text);
  if (client->out_used + size <= OUT_SIZE) {
    memcpy(client->out + client->out_used, text, size);
    client->out_used += size;
  }
}

/* Replies are far smaller than a socket's buffer: what cannot be written at once is a client that does not read. */
static enum outcome flush(struct client *client) {
  size_t size = client->out_used;
  if (size == 0) return GO_ON;
  client->out_used = 0;
  long written = client->ssl ? SSL_write(client->ssl, client->out, (int)size) : write(client->fd, client->out, size);
  return written == (long)size ? GO_ON : CLOSE;
}

static int is(const char *line, const char *verb) { return strncasecmp(line, verb, strlen(verb)) == 0; }

static enum outcome obey(struct client *client, const char *line) {
  if (is(line, "EHLO")) {
    say(client, "250-sink\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250-PIPELINING\r\n");
    say(client, client->ssl ? "250 ENHANCEDSTATUSCODES\r\n" : "250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n");
  } else if (is(line, "MAIL") || is(line, "RCPT") || is(line, "RSET") || is(line, "NOOP")) {
    say(client, "250 2.0.0 ok\r\n");
  } else if (is(line, "DATA")) {
    say(client, "354 go on\r\n");
    client->state = CONTENT;
  } else if (is(line, "STARTTLS") && !client->ssl) {
    say(client, "220 2.0.0 go ahead\r\n");
    if (flush(client) == CLOSE) return CLOSE;
    client->ssl = SSL_new(context);
    if (!client->ssl) return CLOSE;
    SSL_set_fd(client->ssl, client->fd);
    SSL_set_accept_state(client->ssl);
    client->state = HANDSHAKE;
  } else if (is(line, "QUIT")) {
    say(client, "221 2.0.0 bye\r\n");
    flush(client);
    return CLOSE;
  } else {
    say(client, "502 5.5.1 unknown\r\n");
  }
  return GO_ON;
}

static void taken(struct client *client) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  atomic_store(&last, (unsigned long long)now.tv_sec * 1000000000ull + (unsigned long long)now.tv_nsec);
  atomic_fetch_add(&messages, 1);
  say(client, "250 2.0.0 taken\r\n");
  client->state = COMMANDS;
}

/* Use up what is in the buffer, as far as it is whole. What is left moves to its front. */
static enum outcome consume(struct client *client) {
  size_t at = 0;
  while (at < client->in_used && client->state != HANDSHAKE) {
    char *from = client->in + at;
    size_t size = client->in_used - at;
    if (client->state == CONTENT) {
      char *end = memmem(from, size, END, END_SIZE);
      if (!end) {
        at += size < END_SIZE ? 0 : size - (END_SIZE - 1); /* the end may have begun */
        break;
      }
      at = (size_t)(end - client->in) + END_SIZE;
      taken(client);
    } else {
      char *end = memchr(from, '\n', size);
      if (!end) break;
      at = (size_t)(end - client->in) + 1;
      if (obey(client, from) == CLOSE) return CLOSE;
    }
  }
  if (client->state == HANDSHAKE) at = client->in_used; /* RFC 3207 section 4.2: nothing said before counts */
  client->in_used -= at;
  memmove(client->in, client->in + at, client->in_used);
  return client->in_used == IN_SIZE ? CLOSE : flush(client);
}

static enum outcome wait_or_close(struct client *client, int result) {
  int error = SSL_get_error(client->ssl, result);
  ERR_clear_error();
  return error == SSL_ERROR_WANT_READ ? GO_ON : CLOSE;
}

static enum outcome readable(struct client *client) {
  if (client->state == HANDSHAKE) {
    int result = SSL_do_handshake(client->ssl);
    if (result != 1) return wait_or_close(client, result);
    client->state = COMMANDS;
  }
  for (;;) {
    char *to = client->in + client->in_used;
    size_t room = IN_SIZE - client->in_used;
    long got = client->ssl ? SSL_read(client->ssl, to, (int)room) : read(client->fd, to, room);
    if (got <= 0) {
      if (client->ssl) return wait_or_close(client, (int)got);
      return got < 0 && errno == EAGAIN ? GO_ON : CLOSE;
    }
    client->in_used += (size_t)got;
    if (consume(client) == CLOSE) return CLOSE;
    if (client->state == HANDSHAKE) return GO_ON;
  }
}

static void drop(struct client *client) {
  if (client->ssl) {
    SSL_shutdown(client->ssl);
    ERR_clear_error();
    SSL_free(client->ssl);
  }
  close(client->fd);
  free(client);
}

static void welcome(int poll) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  if (fd < 0) return;
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct client *client = malloc(sizeof *client);
  if (!client) abort();
  client->fd = fd;
  client->state = COMMANDS;
  client->ssl = NULL;
  client->in_used = client->out_used = 0;
  atomic_fetch_add(&connections, 1);
  say(client, "220 sink\r\n");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  if (flush(client) == CLOSE || epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) drop(client);
}

static void *serve(void *unused) {
  (void)unused;
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = NULL}, events[EVENTS];
  if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event)) abort();
  for (;;) {
    int count = epoll_wait(poll, events, EVENTS, -1);
    for (int number = 0; number < count; number++) {
      struct client *client = events[number].data.ptr;
      if (!client) welcome(poll);
      else if (readable(client) == CLOSE) drop(client);
    }
  }
}

static int fail(const char *what) {
  fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
  return 1;
}

int main(int argc, char **argv) {
  if (argc != 5) return fail("usage: sink ADDRESS PORT PEM THREADS");
  signal(SIGPIPE, SIG_IGN);
  context = SSL_CTX_new(TLS_server_method());
  if (!context || SSL_CTX_use_certificate_chain_file(context, argv[3]) != 1 ||
      SSL_CTX_use_PrivateKey_file(context, argv[3], SSL_FILETYPE_PEM) != 1)
    return fail(argv[3]);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
  struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argv[2]))};
  int on = 1;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (inet_pton(AF_INET, argv[1], &place.sin_addr) != 1 || bind(listener, (void *)&place, sizeof place) ||
      listen(listener, 4096))
    return fail("listening");
  for (int number = 0; number < atoi(argv[4]); number++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, NULL)) return fail("a thread");
  }
  puts("ready");
  fflush(stdout);
  for (int byte; (byte = getchar()) != EOF;)
    if (byte == '\n') {
      printf("%llu %llu %llu\n", atomic_load(&messages), atomic_load(&connections), atomic_load(&last));
      fflush(stdout);
    }
  return 0;
}
