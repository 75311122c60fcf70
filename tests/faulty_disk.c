/* A disk with faults: the n-th call of a process that writes below a folder fails, or kills the process.

   Loaded with LD_PRELOAD it sees the calls of Python and of the C++ libraries alike. It does nothing until `faults_arm`.
   A write is torn first: half of its bytes reach the file. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static long nth;
static int error, lasting, record = -1;
static atomic_long calls;

/* From now on the nth call from this one on, counted from 1, fails with an error of errno.h, and with `lasting` all calls
   after it; 0 as the error kills the process. `log` gets a line a call. */
void faults_arm(const char *below, long number, int code, int for_ever, const char *log) {
  nth = number, error = code, lasting = for_ever, calls = 0;
  record = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  snprintf(folder, sizeof folder, "%s", below);
}

static int fails(const char *call, int directory, const char *path) {
  char full[2 * PATH_MAX] = "", link[64], line[3 * PATH_MAX];
  if (!folder[0]) return 0;
  if (!path || path[0] != '/') {
    snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
    ssize_t size = readlink(link, full, PATH_MAX);
    snprintf(full + (size < 0 ? 0 : size), PATH_MAX, path ? "/%s" : "%s", path ? path : "");
  } else
    snprintf(full, sizeof full, "%s", path);
  size_t size = strlen(folder);
  if (strncmp(full, folder, size) || (full[size] && full[size] != '/')) return 0;
  long number = atomic_fetch_add(&calls, 1) + 1;
  /* A full disk still removes files. */
  int removes = !strcmp(call, "unlink") || !strcmp(call, "rmdir"), full_disk = error == ENOSPC || error == EDQUOT;
  int now = number == nth || (lasting && nth && number > nth && !(removes && full_disk));
  int done = snprintf(line, sizeof line, "%ld %s %s%s\n", number, call, full, now ? " FAILS" : "");
  if (write(record, line, done) != done) raise(SIGABRT);
  return now;
}

static int refuse(void) {
  if (!error) kill(getpid(), SIGKILL);
  errno = error;
  return -1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define OPENS(name)                                                                              \
  int name(const char *path, int flags, ...) {                                                   \
    va_list rest;                                                                                \
    va_start(rest, flags);                                                                       \
    mode_t mode = va_arg(rest, mode_t);                                                          \
    va_end(rest);                                                                                \
    REAL(name);                                                                                  \
    if (flags & (O_CREAT | O_WRONLY | O_RDWR) && fails("open", AT_FDCWD, path)) return refuse(); \
    return real(path, flags, mode);                                                              \
  }
OPENS(open)
OPENS(open64)

#define OPENS_AT(name)                                                                            \
  int name(int directory, const char *path, int flags, ...) {                                     \
    va_list rest;                                                                                 \
    va_start(rest, flags);                                                                        \
    mode_t mode = va_arg(rest, mode_t);                                                           \
    va_end(rest);                                                                                 \
    REAL(name);                                                                                   \
    if (flags & (O_CREAT | O_WRONLY | O_RDWR) && fails("open", directory, path)) return refuse(); \
    return real(directory, path, flags, mode);                                                    \
  }
OPENS_AT(openat)
OPENS_AT(openat64)

static ssize_t (*real_write)(int, const void *, size_t);

ssize_t write(int file, const void *content, size_t size) {
  if (!real_write) real_write = (__typeof__(real_write))dlsym(RTLD_NEXT, "write");
  if (file != record && fails("write", file, NULL)) {
    if (size > 1) size = real_write(file, content, size / 2);
    return refuse();
  }
  return real_write(file, content, size);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  REAL(writev);
  if (fails("write", file, NULL)) {
    if (count > 1 && real(file, parts, count / 2) < 0) return -1;
    return refuse();
  }
  return real(file, parts, count);
}

#define CALLS(result, name, declared, given, call, directory, path) \
  result name declared {                                            \
    REAL(name);                                                     \
    return fails(call, directory, path) ? refuse() : real given;    \
  }
CALLS(ssize_t, pwrite, (int f, const void *c, size_t n, off_t o), (f, c, n, o), "write", f, NULL)
CALLS(ssize_t, pwrite64, (int f, const void *c, size_t n, off64_t o), (f, c, n, o), "write", f, NULL)
CALLS(int, ftruncate, (int f, off_t n), (f, n), "truncate", f, NULL)
CALLS(int, ftruncate64, (int f, off64_t n), (f, n), "truncate", f, NULL)
CALLS(int, fsync, (int f), (f), "fsync", f, NULL)
CALLS(int, fdatasync, (int f), (f), "fsync", f, NULL)
CALLS(int, mkdir, (const char *p, mode_t m), (p, m), "mkdir", AT_FDCWD, p)
CALLS(int, mkdirat, (int d, const char *p, mode_t m), (d, p, m), "mkdir", d, p)
CALLS(int, unlink, (const char *p), (p), "unlink", AT_FDCWD, p)
CALLS(int, unlinkat, (int d, const char *p, int f), (d, p, f), "unlink", d, p)
CALLS(int, rmdir, (const char *p), (p), "rmdir", AT_FDCWD, p)
CALLS(int, rename, (const char *p, const char *q), (p, q), "rename", AT_FDCWD, p)
CALLS(int, renameat, (int d, const char *p, int e, const char *q), (d, p, e, q), "rename", d, p)
CALLS(int, link, (const char *p, const char *q), (p, q), "link", AT_FDCWD, p)
CALLS(int, chmod, (const char *p, mode_t m), (p, m), "chmod", AT_FDCWD, p)
