/* The load of the comparison: messages of one recipient each, over some connections, to some domains in turn.
 *
 *     feed PORT MESSAGES DOMAINS CONNECTIONS SENDER FILE
 *
 * FILE is the content as it goes over the wire after DATA, with the final dot; a Message-ID goes before it. Each
 * connection, a thread of its own, sends the next message as soon as its last one is accepted, command by command. It
 * prints the nanoseconds of CLOCK_MONOTONIC at the first and at the last 250 to a message, or ends with status 1 and
 * the reply that it did not expect.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 65536, LINE = 512 };

struct connection {
  int fd;
  size_t used;
  char in[LINES];
};

static int port, messages, domains;
static const char *sender;
static char *content;
static size_t content_size;
static atomic_int next_message;
static atomic_llong first_accepted, last_accepted;

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  exit(1);
}

static void say(int fd, struct iovec *parts, int count) {
  while (count > 0) {
    ssize_t written = writev(fd, parts, count);
    if (written < 0) fail("the connection ended", "while we were sending");
    while (count > 0 && (size_t)written >= parts->iov_len) {
      written -= parts->iov_len;
      parts++;
      count--;
    }
    if (count > 0) {
      parts->iov_base = (char *)parts->iov_base + written;
      parts->iov_len -= written;
    }
  }
}

/* Read a reply to its last line, and make sure of its code. */
static void expect(struct connection *c, const char *code) {
  for (;;) {
    char *line = c->in, *end;
    while ((end = memchr(line, '\n', c->in + c->used - line)) != NULL) {
      int last = end - line > 3 && line[3] != '-';
      if (strncmp(line, code, 3) != 0) {
        *end = 0;
        fail("the server said", line);
      }
      line = end + 1;
      if (last) {
        c->used -= line - c->in;
        memmove(c->in, line, c->used);
        return;
      }
    }
    c->used -= line - c->in;
    memmove(c->in, line, c->used);
    if (c->used == LINES) fail("the server said", "a line without an end");
    ssize_t count = read(c->fd, c->in + c->used, LINES - c->used);
    if (count <= 0) fail("the connection ended, expected", code);
    c->used += count;
  }
}

static void ask(struct connection *c, const char *text, const char *code) {
  struct iovec part = {(void *)text, strlen(text)};
  say(c->fd, &part, 1);
  expect(c, code);
}

static void *converse(void *unused) {
  (void)unused;
  struct connection *c = calloc(1, sizeof *c);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) fail("no connection", "to the server");
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  expect(c, "220");
  ask(c, "EHLO client.example\r\n", "250");
  for (int number; (number = atomic_fetch_add(&next_message, 1)) < messages;) {
    char line[LINE];
    snprintf(line, sizeof line, "MAIL FROM:<%s>\r\n", sender);
    ask(c, line, "250");
    snprintf(line, sizeof line, "RCPT TO:<user@d%d.bench>\r\n", number % domains);
    ask(c, line, "250");
    ask(c, "DATA\r\n", "354");
    int length = snprintf(line, sizeof line, "Message-ID: <%d.%lld@sender.bench>\r\n", number, now());
    struct iovec parts[] = {{line, length}, {content, content_size}};
    say(c->fd, parts, 2);
    expect(c, "250");
    long long time = now(), none = 0;
    atomic_compare_exchange_strong(&first_accepted, &none, time);
    long long seen = atomic_load(&last_accepted);
    while (seen < time && !atomic_compare_exchange_weak(&last_accepted, &seen, time)) continue;
  }
  ask(c, "QUIT\r\n", "221");
  close(c->fd);
  free(c);
  return NULL;
}

int main(int argc, char **argv) {
  if (argc != 7) fail("usage", "feed PORT MESSAGES DOMAINS CONNECTIONS SENDER FILE");
  port = atoi(argv[1]);
  messages = atoi(argv[2]);
  domains = atoi(argv[3]);
  int connections = atoi(argv[4]);
  sender = argv[5];
  FILE *file = fopen(argv[6], "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail("cannot be read", argv[6]);
  content_size = ftell(file);
  rewind(file);
  content = malloc(content_size);
  if (fread(content, 1, content_size, file) != content_size) fail("cannot be read", argv[6]);
  fclose(file);
  pthread_t *threads = calloc(connections, sizeof *threads);
  for (int i = 0; i < connections; i++)
    if (pthread_create(&threads[i], NULL, converse, NULL) != 0) fail("no thread", "for a connection");
  for (int i = 0; i < connections; i++) pthread_join(threads[i], NULL);
  printf("%lld %lld\n", atomic_load(&first_accepted), atomic_load(&last_accepted));
  return 0;
}
