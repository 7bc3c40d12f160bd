/* Makes system calls on files falter: it is loaded before the C library, and the plan that FALTER_PLAN names says which
 * calls fail or are late, on files whose path begins how. The plan is shared memory (falter.py writes it), so that it
 * can change under a running process, and all processes and threads count together.
 *
 * strace's tampering does the same and makes each call of each thread slow; a tracer that has to let go of a program of
 * many threads can also hang.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct plan {
    unsigned calls; /* which: a set of the bits below; 0: nothing falters */
    int error;      /* errno; 0: the call is only late */
    int left;       /* the one that takes this to 0 fails */
    int lasting;    /* and so do all that follow */
    int delay_ms;
    int failed; /* how many have */
    char under[488];
};

enum call {
    FSYNC = 1, FDATASYNC = 2, WRITE = 4, PWRITE = 8, READ = 16, OPEN = 32, FTRUNCATE = 64, RENAME = 128, UNLINK = 256,
};

static volatile struct plan *plan;

__attribute__((constructor)) static void load(void)
{
    const char *path = getenv("FALTER_PLAN");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    plan = mapped == MAP_FAILED ? NULL : mapped;
    syscall(SYS_close, fd);
}

static int fails(enum call call, const char *path)
{
    if (!plan || !(plan->calls & call) || strncmp(path, (const char *)plan->under, strlen((const char *)plan->under)))
        return 0;
    if (plan->delay_ms) {
        struct timespec delay = {plan->delay_ms / 1000, plan->delay_ms % 1000 * 1000000L};
        nanosleep(&delay, NULL);
    }
    int left = __atomic_sub_fetch(&plan->left, 1, __ATOMIC_SEQ_CST);
    if (!plan->error || left > 0 || (left < 0 && !plan->lasting))
        return 0;
    __atomic_add_fetch(&plan->failed, 1, __ATOMIC_SEQ_CST);
    errno = plan->error;
    return 1;
}

static int fails_on(enum call call, int fd)
{
    char name[32], path[4096];
    if (!plan || !(plan->calls & call))
        return 0;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return fails(call, path);
}

int fsync(int fd) { return fails_on(FSYNC, fd) ? -1 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return fails_on(FDATASYNC, fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }

ssize_t write(int fd, const void *from, size_t size)
{
    return fails_on(WRITE, fd) ? -1 : syscall(SYS_write, fd, from, size);
}

ssize_t writev(int fd, const struct iovec *from, int many)
{
    return fails_on(WRITE, fd) ? -1 : syscall(SYS_writev, fd, from, many);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
    return fails_on(PWRITE, fd) ? -1 : syscall(SYS_pwrite64, fd, from, size, at);
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at) { return pwrite(fd, from, size, at); }

ssize_t read(int fd, void *to, size_t size) { return fails_on(READ, fd) ? -1 : syscall(SYS_read, fd, to, size); }

ssize_t pread(int fd, void *to, size_t size, off_t at)
{
    return fails_on(READ, fd) ? -1 : syscall(SYS_pread64, fd, to, size, at);
}

ssize_t pread64(int fd, void *to, size_t size, off64_t at) { return pread(fd, to, size, at); }

int ftruncate(int fd, off_t size) { return fails_on(FTRUNCATE, fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size); }
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

#define MODE(flags)                                                                                                    \
    ({                                                                                                                 \
        mode_t mode = 0;                                                                                               \
        if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {                                               \
            va_list more;                                                                                              \
            va_start(more, flags);                                                                                     \
            mode = va_arg(more, mode_t);                                                                               \
            va_end(more);                                                                                              \
        }                                                                                                              \
        mode;                                                                                                          \
    })

static int opens(int folder, const char *path, int flags, mode_t mode)
{
    return fails(OPEN, path) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

int open(const char *path, int flags, ...) { return opens(AT_FDCWD, path, flags, MODE(flags)); }
int open64(const char *path, int flags, ...) { return opens(AT_FDCWD, path, flags | O_LARGEFILE, MODE(flags)); }
int openat(int folder, const char *path, int flags, ...) { return opens(folder, path, flags, MODE(flags)); }
int openat64(int folder, const char *path, int flags, ...) { return opens(folder, path, flags, MODE(flags)); }

int rename(const char *from, const char *to)
{
    return fails(RENAME, to) ? -1 : (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlink(const char *path) { return fails(UNLINK, path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
