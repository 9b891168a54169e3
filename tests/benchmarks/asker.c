/* Asks a tracker as many clients do, each from an address of its own, and tells how it fared.

   asker WAY HOST PORT HASHES PEERS SECONDS WINDOW RATE

   WAY is http-close, http-keep, udp-kept (a connection id a client) or udp-new (one an announce).
   HASHES is a string of info hashes, 40 hex digits each. PEERS clients take turns, number n in
   swarm n modulo their count at address 16.0.0.0 + 257 n + 7, so that each has a /24 of its own.
   One in ten is a seed. Each announce says event=started and numwant=50: trackers that answer a
   client that asks again at once more briefly then answer in full.

   With RATE 0, WINDOW announces are on their way at any time; else RATE a second begin, and the
   time of each runs from when it was due. SECONDS 0 means: each client once.

   One thread. Prints "ready" when connection ids are there that udp-kept reuses, and at the end one
   line of JSON. Linux. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NUMWANT = 50, MOST_SLOTS = 4096, BATCH = 64, REPLY = 8192, MOST_SAMPLES = 1 << 22 };
static const double LOST = 1.0; /* seconds until a datagram counts as lost */

struct slot {
    uint32_t peer, transaction;
    int fd, used, got, sent, length, served, waits_for_id;
    uint64_t connection;
    double due, at;
    char request[512];
    char reply[REPLY];
};

static struct slot *slots;
static int window, swarms, is_udp, keeps, renews;
static uint32_t peers, next_peer, step;
static unsigned char (*hashes)[20];
static struct sockaddr_in server;
static char host_header[64];
static uint64_t *ids; /* of UDP clients */
static float *samples;
static int ids_only = 1; /* until the announces begin */
static long known, done, full, refused, broken, lost, count_samples;
static int epoll, udp;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static uint32_t address_of(uint32_t peer) { return 0x10000007u + 257u * peer; }
static uint16_t port_of(uint32_t peer) { return 1024 + peer % 60000; }
static int is_seed(uint32_t peer) { return peer / swarms % 10 == 0; }

static uint32_t choose(void) {
    next_peer = (uint32_t)(((uint64_t)next_peer + step) % peers);
    return next_peer;
}

static void peer_id_of(uint32_t peer, char *to) {
    char text[24];
    snprintf(text, sizeof text, "-AB1200-%012u", peer);
    memcpy(to, text, 20);
}

static void finish(struct slot *s, int peers_bytes) {
    done++;
    if (peers_bytes >= NUMWANT * 6) full++;
    if (count_samples < MOST_SAMPLES) samples[count_samples++] = (float)(now() - s->due);
    s->used = 0;
}

/* HTTP */

static void write_request(struct slot *s) {
    char escaped[64], id[21] = {0};
    unsigned char *hash = hashes[s->peer % swarms];
    for (int i = 0; i < 20; i++) sprintf(escaped + 3 * i, "%%%02X", hash[i]);
    peer_id_of(s->peer, id);
    s->length = snprintf(s->request, sizeof s->request,
                         "GET /announce?info_hash=%s&peer_id=%s&port=%u&uploaded=0&downloaded=0"
                         "&left=%u&corrupt=0&key=%08X&event=started&numwant=%d&compact=1"
                         "&no_peer_id=1&supportcrypto=1&redundant=0 HTTP/1.1\r\nHost: %s\r\n"
                         "User-Agent: asker\r\nAccept-Encoding: gzip\r\nConnection: %s\r\n\r\n",
                         escaped, id, port_of(s->peer), is_seed(s->peer) ? 0u : 1000000u, s->peer,
                         NUMWANT, host_header, keeps ? "keep-alive" : "close");
    s->sent = s->got = 0;
}

static int dial(struct slot *s) {
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address_of(s->peer))};
    int one = 1;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (s->fd < 0) die("socket");
    setsockopt(s->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (keeps) setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (bind(s->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(s->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS) {
        close(s->fd);
        s->fd = -1;
        return 0;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event)) die("epoll_ctl");
    return 1;
}

static void hang_up(struct slot *s) {
    if (s->fd >= 0) close(s->fd);
    s->fd = -1;
}

static void push(struct slot *s);

/* A server may close a kept connection while a request is on its way: that one is sent again. */
static void fail(struct slot *s) {
    int again = s->served && !s->got;
    hang_up(s);
    s->served = 0;
    if (again && dial(s)) {
        s->sent = 0;
        push(s);
        return;
    }
    broken++;
    s->used = 0;
}

static void push(struct slot *s) {
    while (s->sent < s->length) {
        ssize_t n = send(s->fd, s->request + s->sent, s->length - s->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) fail(s);
            return;
        }
        s->sent += n;
    }
}

static void begin_http(struct slot *s, double due) {
    s->used = 1;
    s->due = due;
    if (s->fd < 0) {
        s->served = 0;
        if (!keeps) s->peer = choose();
        if (!dial(s)) {
            fail(s);
            return;
        }
    }
    write_request(s);
    push(s);
}

/* Return how long the whole reply is, 0 while that is unknown; -1 without a length. */
static int reply_length(struct slot *s, int *head) {
    s->reply[s->got] = 0;
    char *end = strstr(s->reply, "\r\n\r\n");
    if (!end) return 0;
    *head = (int)(end - s->reply) + 4;
    char *field = strcasestr(s->reply, "\r\nContent-Length:");
    if (!field || field > end) return -1;
    return *head + atoi(field + 17);
}

static void take_http(struct slot *s) {
    for (;;) {
        ssize_t n = recv(s->fd, s->reply + s->got, REPLY - 1 - s->got, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (!s->used) {
            hang_up(s);
            return;
        }
        if (n < 0) {
            fail(s);
            return;
        }
        s->got += n;
        int head = 0, whole = reply_length(s, &head);
        if (n == 0 && whole == -1) whole = s->got;
        if (whole > 0 && s->got >= whole) {
            char *found = memmem(s->reply + head, whole - head, "5:peers", 7);
            if (memmem(s->reply + head, whole - head, "failure reason", 14)) refused++;
            else if (!found) broken++;
            finish(s, found ? atoi(found + 7) : 0);
            s->served = 1;
            if (keeps && n > 0) continue; /* the end of the connection may be there, too */
            hang_up(s);
            return;
        }
        if (n == 0 || s->got == REPLY - 1) {
            fail(s);
            return;
        }
    }
}

/* UDP */

static void put(char *to, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) to[i] = (char)(value >> 8 * (bytes - 1 - i));
}

static uint64_t get(const char *from, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | (unsigned char)from[i];
    return value;
}

static void write_datagram(struct slot *s) {
    char *to = s->request;
    s->transaction += MOST_SLOTS; /* the low bits are the slot's number */
    if (s->waits_for_id) {
        put(to, 0x41727101980ull, 8);
        put(to + 8, 0, 4);
        put(to + 12, s->transaction, 4);
        s->length = 16;
        return;
    }
    put(to, s->connection, 8);
    put(to + 8, 1, 4);
    put(to + 12, s->transaction, 4);
    memcpy(to + 16, hashes[s->peer % swarms], 20);
    peer_id_of(s->peer, to + 36);
    put(to + 56, 0, 8);
    put(to + 64, is_seed(s->peer) ? 0 : 1000000, 8);
    put(to + 72, 0, 8);
    put(to + 80, 2, 4);
    put(to + 84, 0, 4);
    put(to + 88, s->peer, 4);
    put(to + 92, NUMWANT, 4);
    put(to + 96, port_of(s->peer), 2);
    s->length = 98;
}

static struct mmsghdr out[BATCH], in[BATCH];
static struct iovec out_data[BATCH], in_data[BATCH];
static char out_control[BATCH][CMSG_SPACE(sizeof(struct in_pktinfo))];
static char in_buffer[BATCH][REPLY];
static int waiting;

static void flush(void) {
    for (int sent = 0; sent < waiting;) {
        int n = sendmmsg(udp, out + sent, waiting - sent, 0);
        if (n < 0) {
            if (errno == EAGAIN || errno == ENOBUFS || errno == ECONNREFUSED) continue;
            die("sendmmsg");
        }
        sent += n;
    }
    waiting = 0;
}

static void queue(struct slot *s) {
    write_datagram(s);
    s->at = now();
    struct msghdr *head = &out[waiting].msg_hdr;
    out_data[waiting] = (struct iovec){s->request, s->length};
    *head = (struct msghdr){.msg_name = &server,
                            .msg_namelen = sizeof server,
                            .msg_iov = &out_data[waiting],
                            .msg_iovlen = 1,
                            .msg_control = out_control[waiting],
                            .msg_controllen = sizeof out_control[0]};
    struct cmsghdr *control = CMSG_FIRSTHDR(head);
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(address_of(s->peer))};
    memcpy(CMSG_DATA(control), &info, sizeof info);
    if (++waiting == BATCH) flush();
}

static void begin_udp(struct slot *s, double due) {
    s->used = 1;
    s->due = due;
    s->peer = choose();
    s->connection = ids[s->peer];
    s->waits_for_id = renews || !s->connection;
    queue(s);
}

static void take_datagram(const char *data, int length) {
    if (length < 8) return;
    uint32_t transaction = (uint32_t)get(data + 4, 4);
    struct slot *s = slots + transaction % MOST_SLOTS;
    if ((int)(transaction % MOST_SLOTS) >= window || !s->used || s->transaction != transaction)
        return;
    uint32_t action = (uint32_t)get(data, 4);
    if (action == 0 && length >= 16) {
        if (!ids[s->peer]) known++;
        s->connection = ids[s->peer] = get(data + 8, 8);
        s->waits_for_id = 0;
        if (ids_only) s->used = 0;
        else queue(s);
        return;
    }
    if (action == 3) refused++;
    else if (action != 1) broken++;
    finish(s, length - 20);
}

static void take_udp(void) {
    for (;;) {
        int n = recvmmsg(udp, in, BATCH, MSG_DONTWAIT, NULL);
        if (n < 0 && errno != EAGAIN && errno != ECONNREFUSED) die("recvmmsg");
        for (int i = 0; i < n; i++) take_datagram(in_buffer[i], (int)in[i].msg_len);
        if (n < BATCH) return;
    }
}

static void open_udp(void) {
    struct sockaddr_in any = {.sin_family = AF_INET};
    int room = 8 << 20;
    udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (udp < 0 || bind(udp, (struct sockaddr *)&any, sizeof any)) die("udp");
    setsockopt(udp, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    setsockopt(udp, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, udp, &event)) die("epoll_ctl");
    for (int i = 0; i < BATCH; i++) {
        in_data[i] = (struct iovec){in_buffer[i], REPLY};
        in[i].msg_hdr = (struct msghdr){.msg_iov = &in_data[i], .msg_iovlen = 1};
    }
}

static void begin(struct slot *s, double due) {
    if (is_udp) begin_udp(s, due);
    else begin_http(s, due);
}

static void resend_lost(double at) {
    for (int i = 0; i < window; i++)
        if (slots[i].used && at - slots[i].at > LOST) {
            lost++;
            queue(slots + i);
        }
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double part(double share) {
    return count_samples ? samples[(long)(share * (count_samples - 1))] * 1e3 : 0;
}

int main(int argc, char **argv) {
    if (argc != 9) {
        fprintf(stderr, "asker WAY HOST PORT HASHES PEERS SECONDS WINDOW RATE\n");
        return 2;
    }
    is_udp = !strncmp(argv[1], "udp", 3);
    keeps = !strcmp(argv[1], "http-keep");
    renews = !strcmp(argv[1], "udp-new");
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[3]));
    if (inet_pton(AF_INET, argv[2], &server.sin_addr) != 1) die("HOST");
    snprintf(host_header, sizeof host_header, "%s:%s", argv[2], argv[3]);
    swarms = (int)strlen(argv[4]) / 40;
    hashes = calloc(swarms, 20);
    for (int i = 0; i < swarms * 20; i++) {
        unsigned byte;
        sscanf(argv[4] + 2 * i, "%2x", &byte);
        hashes[i / 20][i % 20] = (unsigned char)byte;
    }
    peers = (uint32_t)atol(argv[5]);
    double seconds = atof(argv[6]), rate = atof(argv[8]);
    window = atoi(argv[7]);
    if (window > MOST_SLOTS) window = MOST_SLOTS;
    slots = calloc(window, sizeof *slots);
    ids = calloc(peers, sizeof *ids);
    samples = malloc(MOST_SAMPLES * sizeof *samples);
    step = 7919; /* prime: every client has its turn before one has another */
    while (peers % step == 0) step += 2;
    epoll = epoll_create1(0);
    if (is_udp) open_udp();
    for (int i = 0; i < window; i++) {
        slots[i].fd = -1;
        slots[i].transaction = (uint32_t)i;
        slots[i].peer = keeps ? choose() : 0;
    }

    if (is_udp && !renews && seconds > 0) {
        renews = 1;
        while (known < (long)peers) {
            for (int i = 0; i < window; i++)
                if (!slots[i].used) begin(slots + i, now());
            flush();
            struct epoll_event event;
            epoll_wait(epoll, &event, 1, 100);
            take_udp();
            resend_lost(now());
        }
        for (int i = 0; i < window; i++) slots[i].used = 0;
        renews = lost = 0;
    }
    ids_only = 0;
    printf("ready\n");
    fflush(stdout);

    int most = keeps ? window / 8 : window; /* of kept connections one in eight is busy */
    if (rate > 0 || most < 1) most = window;
    long begun = 0, limit = seconds > 0 ? -1 : (long)peers;
    int turn = 0, busy = 0;
    double start = now(), looked = start, last = start;
    struct epoll_event events[256];
    for (;;) {
        double at = last = now();
        int over = limit >= 0 ? begun >= limit : at - start >= seconds;
        if (over && (limit < 0 || !busy || at - start > 600)) break;
        long due = rate > 0 ? (long)((at - start) * rate) : begun + window;
        busy = 0;
        for (int i = 0; i < window; i++) busy += slots[i].used;
        for (int tries = 0; tries < window && begun < due && busy < most && !over; tries++) {
            struct slot *s = slots + turn;
            turn = (turn + 1) % window;
            if (s->used) continue;
            begin(s, rate > 0 ? start + begun / rate : now());
            begun++;
            busy++;
            over = limit >= 0 && begun >= limit;
        }
        if (is_udp) {
            flush();
            if (at - looked > 0.25) resend_lost(looked = at);
            flush();
        }
        int wait = 100;
        if (rate > 0) wait = 1;
        int n = epoll_wait(epoll, events, 256, wait);
        for (int i = 0; i < n; i++) {
            struct slot *s = events[i].data.ptr;
            if (is_udp) {
                take_udp();
                continue;
            }
            if (s->fd >= 0 && s->used && s->sent < s->length) push(s);
            if (s->fd >= 0 && events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) take_http(s);
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
                 (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    qsort(samples, count_samples, sizeof *samples, by_size);
    printf("{\"seconds\": %.3f, \"announces\": %ld, \"full\": %ld, \"refused\": %ld,"
           " \"broken\": %ld, \"lost\": %ld, \"cpu\": %.3f, \"p50\": %.3f, \"p99\": %.3f,"
           " \"worst\": %.3f}\n",
           last - start, done, full, refused, broken, lost, cpu, part(0.5), part(0.99), part(1));
    return 0;
}
