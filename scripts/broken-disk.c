/* Preloaded into a server: the Nth call of its that touches a file below a folder fails, once. scripts/faults io says how it is used.
 *
 *   BROKEN_DISK_FOLDER   the folder
 *   BROKEN_DISK_CONTROL  a file of two ints: how many calls until the fault (0: none any more), and its errno (0: half is written); and behind them,
 *                        written here, the call that failed and its file
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile int *control;
static const char *folder;
static __thread char touched[4096];

enum { SIZE = 4096, NOTE = 2 * sizeof(int) };

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("BROKEN_DISK_CONTROL");
    folder = getenv("BROKEN_DISK_FOLDER");
    int file = path && folder ? open(path, O_RDWR) : -1;
    if (file < 0) return;
    void *at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (at != MAP_FAILED) control = at;
}

static int below(const char *path) { return path && strncmp(path, folder, strlen(folder)) == 0; }

/* Why it fails. What cannot be half done fails as well. */
static int reason(void) { return control[1] ? control[1] : EIO; }

/* Whether this call is the one. */
static int counted(void) { return __atomic_load_n(&control[0], __ATOMIC_SEQ_CST) > 0 && __atomic_sub_fetch(&control[0], 1, __ATOMIC_SEQ_CST) == 0; }

static void note(const char *call) { snprintf((char *)control + NOTE, SIZE - NOTE, "%s %s", call, touched + strlen(folder)); }

static int path_fails(const char *path) {
    if (!control || control[0] <= 0 || !below(path)) return 0;
    snprintf(touched, sizeof touched, "%s", path);
    return counted();
}

static int file_fails(int file) {
    if (!control || control[0] <= 0) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, touched, sizeof touched - 1);
    if (length < 0) return 0;
    touched[length] = 0;
    return below(touched) && counted();
}

#define SIZED(name, parameters, whole, half)                     \
    ssize_t name parameters {                                    \
        static ssize_t(*real) parameters;                        \
        if (!real) real = (ssize_t(*) parameters)dlsym(RTLD_NEXT, #name); \
        if (!file_fails(file)) return real whole;                \
        if (!control[1] && size > 1) {                           \
            note("half of " #name);                               \
            return real half;                                    \
        }                                                        \
        note(#name);                                             \
        errno = reason();                                        \
        return -1;                                               \
    }

SIZED(write, (int file, const void *from, size_t size), (file, from, size), (file, from, size / 2))
SIZED(pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at), (file, from, size / 2, at))
SIZED(pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at), (file, from, size / 2, at))
SIZED(read, (int file, void *to, size_t size), (file, to, size), (file, to, size / 2))
SIZED(pread, (int file, void *to, size_t size, off_t at), (file, to, size, at), (file, to, size / 2, at))
SIZED(pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at), (file, to, size / 2, at))

/* Of several pieces half are written: the first of them, or none where there is but one. */
SIZED(writev, (int file, const struct iovec *from, int size), (file, from, size), (file, from, size / 2))
SIZED(pwritev, (int file, const struct iovec *from, int size, off_t at), (file, from, size, at), (file, from, size / 2, at))
SIZED(pwritev64, (int file, const struct iovec *from, int size, off64_t at), (file, from, size, at), (file, from, size / 2, at))

#define PLAIN(name, parameters, arguments, fails)                \
    int name parameters {                                        \
        static int(*real) parameters;                            \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name); \
        if (!(fails)) return real arguments;                     \
        note(#name);                                             \
        errno = reason();                                        \
        return -1;                                               \
    }

PLAIN(fsync, (int file), (file), file_fails(file))
PLAIN(fdatasync, (int file), (file), file_fails(file))
PLAIN(ftruncate, (int file, off_t size), (file, size), file_fails(file))
PLAIN(ftruncate64, (int file, off64_t size), (file, size), file_fails(file))
PLAIN(link, (const char *old, const char *new), (old, new), path_fails(new))
PLAIN(linkat, (int a, const char *old, int b, const char *new, int flags), (a, old, b, new, flags), path_fails(new))
PLAIN(rename, (const char *old, const char *new), (old, new), path_fails(new))
PLAIN(mkdir, (const char *path, mode_t mode), (path, mode), path_fails(path))
PLAIN(unlink, (const char *path), (path), path_fails(path))
PLAIN(unlinkat, (int at, const char *path, int flags), (at, path, flags), path_fails(path))
PLAIN(rmdir, (const char *path), (path), path_fails(path))
PLAIN(fallocate, (int file, int mode, off_t at, off_t size), (file, mode, at, size), file_fails(file))
PLAIN(fallocate64, (int file, int mode, off64_t at, off64_t size), (file, mode, at, size), file_fails(file))

/* These return the error and leave errno alone. */
#define RETURNS(name, parameters, arguments)                     \
    int name parameters {                                        \
        static int(*real) parameters;                            \
        if (!real) real = (int(*) parameters)dlsym(RTLD_NEXT, #name); \
        if (!file_fails(file)) return real arguments;            \
        note(#name);                                             \
        return reason();                                         \
    }

RETURNS(posix_fallocate, (int file, off_t at, off_t size), (file, at, size))
RETURNS(posix_fallocate64, (int file, off64_t at, off64_t size), (file, at, size))

#define OPENS(name)                                              \
    int name(const char *path, int flags, ...) {                 \
        static int (*real)(const char *, int, ...);              \
        if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        va_list more;                                            \
        va_start(more, flags);                                   \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                            \
        if (!path_fails(path)) return real(path, flags, mode);   \
        note(#name);                                             \
        errno = reason();                                        \
        return -1;                                               \
    }

OPENS(open)
OPENS(open64)

/* Paths here are whole ones: the server names nothing below a folder that it holds open. */
#define OPENS_AT(name)                                           \
    int name(int at, const char *path, int flags, ...) {         \
        static int (*real)(int, const char *, int, ...);         \
        if (!real) real = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #name); \
        va_list more;                                            \
        va_start(more, flags);                                   \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more);                                            \
        if (!path_fails(path)) return real(at, path, flags, mode); \
        note(#name);                                             \
        errno = reason();                                        \
        return -1;                                               \
    }

OPENS_AT(openat)
OPENS_AT(openat64)
