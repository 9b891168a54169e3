/* Writes down every change below $CRASH_ROOT that a program makes, in the order in which it takes
 * effect: preloaded, it wraps the calls. A record is "NAME DESCRIPTOR OFFSET LENGTH FLAGS PATHS\n"
 * and LENGTH bytes of data; paths are relative to the root, two are divided by a tab. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 4096
static char followed[MOST];
static const char *root;
static size_t root_length;
static int log_fd = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    root = getenv("CRASH_ROOT");
    const char *log = getenv("CRASH_LOG");
    if (!root || !log)
        return;
    root_length = strlen(root);
    log_fd = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static const char *below(const char *path)
{
    if (log_fd < 0 || strncmp(path, root, root_length))
        return NULL;
    if (path[root_length] == 0)
        return ".";
    return path[root_length] == '/' ? path + root_length + 1 : NULL;
}

static void all(const void *data, size_t length)
{
    const char *at = data;
    while (length) {
        ssize_t count = REAL(write)(log_fd, at, length);
        if (count <= 0)
            abort();
        at += count;
        length -= count;
    }
}

static void note(const char *name, int fd, off_t offset, size_t length, int flags,
                 const char *paths, const void *data)
{
    char head[10000];
    int size = snprintf(head, sizeof head, "%s %d %lld %zu %d %s\n", name, fd, (long long)offset,
                        length, flags, paths);
    all(head, size);
    if (length)
        all(data, length);
}

static int opened(const char *path, int flags, int mode, int result)
{
    const char *name = below(path);
    if (name && result >= 0 && result < MOST) {
        followed[result] = 1;
        note("open", result, 0, 0, flags, name, NULL);
    }
    return result;
}

#define OPEN(function)                                                                             \
    int function(const char *path, int flags, ...)                                                 \
    {                                                                                              \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        int mode = va_arg(more, int);                                                              \
        va_end(more);                                                                              \
        pthread_mutex_lock(&lock);                                                                 \
        int result = opened(path, flags, mode, REAL(function)(path, flags, mode));                 \
        pthread_mutex_unlock(&lock);                                                               \
        return result;                                                                             \
    }
OPEN(open)
OPEN(open64)

int close(int fd)
{
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < MOST && followed[fd]) {
        followed[fd] = 0;
        note("close", fd, 0, 0, 0, ".", NULL);
    }
    int result = REAL(close)(fd);
    pthread_mutex_unlock(&lock);
    return result;
}

static int is_followed(int fd) { return fd >= 0 && fd < MOST && followed[fd]; }

ssize_t write(int fd, const void *data, size_t length)
{
    pthread_mutex_lock(&lock);
    ssize_t result = REAL(write)(fd, data, length);
    if (is_followed(fd) && result > 0)
        note("write", fd, lseek(fd, 0, SEEK_CUR) - result, result, 0, ".", data);
    pthread_mutex_unlock(&lock);
    return result;
}

#define PWRITE(function)                                                                           \
    ssize_t function(int fd, const void *data, size_t length, off_t offset)                        \
    {                                                                                              \
        pthread_mutex_lock(&lock);                                                                 \
        ssize_t result = REAL(function)(fd, data, length, offset);                                 \
        if (is_followed(fd) && result > 0)                                                         \
            note("write", fd, offset, result, 0, ".", data);                                       \
        pthread_mutex_unlock(&lock);                                                               \
        return result;                                                                             \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define ONE(function, name)                                                                        \
    int function(int fd)                                                                           \
    {                                                                                              \
        pthread_mutex_lock(&lock);                                                                 \
        int result = REAL(function)(fd);                                                           \
        if (is_followed(fd) && !result)                                                            \
            note(name, fd, 0, 0, 0, ".", NULL);                                                    \
        pthread_mutex_unlock(&lock);                                                               \
        return result;                                                                             \
    }
ONE(fsync, "sync")
ONE(fdatasync, "sync")

#define TRUNCATE(function)                                                                         \
    int function(int fd, off_t length)                                                             \
    {                                                                                              \
        pthread_mutex_lock(&lock);                                                                 \
        int result = REAL(function)(fd, length);                                                   \
        if (is_followed(fd) && !result)                                                            \
            note("truncate", fd, length, 0, 0, ".", NULL);                                         \
        pthread_mutex_unlock(&lock);                                                               \
        return result;                                                                             \
    }
TRUNCATE(ftruncate)
TRUNCATE(ftruncate64)

#define NAMED(function, parameters, arguments)                                                     \
    int function parameters                                                                        \
    {                                                                                              \
        pthread_mutex_lock(&lock);                                                                 \
        int result = REAL(function) arguments;                                                     \
        const char *name = below(path);                                                            \
        if (name && !result)                                                                       \
            note(#function, -1, 0, 0, 0, name, NULL);                                              \
        pthread_mutex_unlock(&lock);                                                               \
        return result;                                                                             \
    }
NAMED(unlink, (const char *path), (path))
NAMED(rmdir, (const char *path), (path))
NAMED(mkdir, (const char *path, mode_t mode), (path, mode))

int rename(const char *before, const char *after)
{
    pthread_mutex_lock(&lock);
    int result = REAL(rename)(before, after);
    const char *from = below(before), *to = below(after);
    if (from && to && !result) {
        char both[9000];
        snprintf(both, sizeof both, "%s\t%s", from, to);
        note("rename", -1, 0, 0, 0, both, NULL);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
