#include "io/disk_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"
#include "io/loop.h"

enum {
    BLOCK_SIZE = 4096,   /* a page: nothing has to be read before it is written */
    AGAIN_MS = 1000,     /* after a writer that could not be started, or ended by itself */
    REAP_MS = 20,        /* at our end: a killed writer that does not hang is gone by then */
    STRAYS_MAX = 4,      /* writers that were let go of and have not ended: each one hangs in a disk */
    FD_CLOSE_MAX = 4096, /* only where the kernel has no close_range() */
    MS_PER_S = 1000,
    US_PER_MS = 1000,
    NS_PER_US = 1000,
    NS_PER_MS = 1000 * 1000,
};

/* What the writer says and hears; nothing but these atomics is shared with it. */
struct board {
    atomic_llong every_ms;
    atomic_llong begun_us; /* CLOCK_BOOTTIME; 0: no write is under way */
    atomic_llong took_us;
    atomic_int error;
    atomic_ullong free_bytes, total_bytes;
    atomic_bool known;
};

/* A process; one that was let go of is only waited for to be reaped. */
struct writer {
    struct disk_probe *probe;
    pid_t pid;
    int pidfd;
    struct loop_fd *watch;
    struct list link; /* in probe->strays */
};

struct disk_probe {
    struct loop *loop;
    char *folder; /* NULL: nowhere */
    msec every_ms;
    struct board *board; /* the present writer's; NULL: none runs */
    struct writer *writer;
    struct list strays;
    int stray_count;
    struct loop_timer again;
};

/* ---- the writer: after fork() only async-signal-safe calls, other threads of ours may hold locks ---- */

static int64_t clock_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail: every Linux has it */
    return (int64_t)now.tv_sec * MS_PER_S * US_PER_MS + now.tv_nsec / NS_PER_US;
}

static void tell_space(struct board *b, int fd)
{
    struct statvfs space;

    if (fstatvfs(fd, &space) < 0)
        return;
    atomic_store(&b->free_bytes, (unsigned long long)space.f_bavail * space.f_frsize);
    atomic_store(&b->total_bytes, (unsigned long long)space.f_blocks * space.f_frsize);
}

/* errno, or 0. */
static int write_once(struct board *b, const char *path, const unsigned char *block)
{
    AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return errno;

    ssize_t len = pwrite(fd, block, BLOCK_SIZE, 0);
    if (len < 0)
        return errno;
    if (len < BLOCK_SIZE)
        return ENOSPC;
    if (fdatasync(fd) < 0)
        return errno;
    tell_space(b, fd);
    return 0;
}

static void writer_sleep(msec for_ms)
{
    struct timespec pause = {.tv_sec = for_ms / MS_PER_S, .tv_nsec = for_ms % MS_PER_S * NS_PER_MS};

    (void)nanosleep(&pause, NULL); /* too short a sleep is one more write */
}

static _Noreturn void writer_run(struct board *b, const char *path)
{
    static unsigned char block[BLOCK_SIZE];

    for (;;) {
        block[0]++; /* no storage may find that it has this already */
        int64_t begun_us = clock_us();
        atomic_store(&b->begun_us, begun_us);
        atomic_store(&b->known, true);
        int error = write_once(b, path, block);
        atomic_store(&b->error, error);
        atomic_store(&b->took_us, clock_us() - begun_us);
        atomic_store(&b->begun_us, 0);
        writer_sleep(atomic_load(&b->every_ms));
    }
}

static void close_all(void)
{
    if (syscall(SYS_close_range, 0U, ~0U, 0U) == 0)
        return;
    for (int fd = 0; fd < FD_CLOSE_MAX; fd++)
        (void)close(fd);
}

static _Noreturn void writer_main(struct board *b, const char *path, pid_t parent)
{
    sigset_t none;

    (void)setsid(); /* what hangs here is no leftover that the next agent has to wait for */
    for (int signo = 1; signo < NSIG; signo++)
        (void)signal(signo, SIG_DFL); /* refused for KILL, STOP and libc's own: fine */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(1);                            /* whoever wanted us is gone already */
    (void)prctl(PR_SET_NAME, "pgkeep-disk"); /* for people */
    close_all();
    if (chdir("/") != 0)
        _exit(1);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail */
    writer_run(b, path);
}

/* ---- starting it and letting it go ---- */

static void writer_reap(struct writer *w)
{
    siginfo_t info;

    (void)waitid(P_PIDFD, (id_t)w->pidfd, &info, WEXITED | WNOHANG); /* else our parent reaps it after us */
    loop_fd_remove(w->watch);
    (void)close(w->pidfd);
    list_remove(&w->link);
    free(w);
}

static void board_drop(struct disk_probe *p)
{
    if (p->board)
        (void)munmap(p->board, sizeof(*p->board)); /* the writer has its own mapping */
    p->board = NULL;
}

static void start_again(void *arg);

static void writer_ended(int fd, unsigned int ready, void *arg)
{
    struct writer *w = arg;
    struct disk_probe *p = w->probe;

    (void)fd;
    (void)ready;
    if (w == p->writer) { /* by itself, or by somebody's hand */
        p->writer = NULL;
        board_drop(p);
    } else {
        p->stray_count--;
    }
    writer_reap(w);
    if (p->folder && !p->writer)
        loop_timer_set(&p->again, loop_clock_ms() + AGAIN_MS);
}

static void writer_let_go(struct disk_probe *p)
{
    loop_timer_clear(&p->again);
    board_drop(p);
    if (!p->writer)
        return;
    (void)kill(p->writer->pid, SIGKILL); /* our child and not reaped: it exists */
    list_add_tail(&p->strays, &p->writer->link);
    p->stray_count++;
    p->writer = NULL;
}

static pid_t fork_writer(struct board *b, const char *path)
{
    pid_t parent = getpid();
    sigset_t all;
    sigset_t old;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
    pid_t pid = fork();
    if (pid == 0)
        writer_main(b, path, parent);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return pid;
}

static bool board_make(struct disk_probe *p)
{
    void *page = mmap(NULL, sizeof(*p->board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return false;
    p->board = page; /* all zero, which is what the atomics begin with */
    atomic_store(&p->board->every_ms, p->every_ms);
    return true;
}

static bool writer_start(struct disk_probe *p)
{
    AUTO(cstr) char *path = str_fmt("%s/" DISK_PROBE_FILE, p->folder);

    if (p->stray_count >= STRAYS_MAX || !board_make(p))
        return false;
    pid_t pid = fork_writer(p->board, path);
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    if (pidfd < 0) {
        siginfo_t info;
        if (pid > 0 && kill(pid, SIGKILL) == 0)
            (void)waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG); /* else it stays a zombie until we end */
        board_drop(p);
        return false;
    }
    struct writer *w = mem_zero(1, sizeof(*w));
    *w = (struct writer){.probe = p, .pid = pid, .pidfd = pidfd};
    list_init(&w->link);
    w->watch = loop_fd_add(p->loop, pidfd, LOOP_READ, writer_ended, w);
    p->writer = w;
    return true;
}

static void start_again(void *arg)
{
    struct disk_probe *p = arg;

    if (p->folder && !p->writer && !writer_start(p))
        loop_timer_set(&p->again, loop_clock_ms() + AGAIN_MS);
}

/* ---- the public side ---- */

struct disk_probe *disk_probe_new(struct loop *l)
{
    struct disk_probe *p = mem_zero(1, sizeof(*p));

    p->loop = l;
    list_init(&p->strays);
    loop_timer_init(&p->again, l, start_again, p);
    return p;
}

void disk_probe_free(struct disk_probe *p)
{
    if (!p)
        return;
    writer_let_go(p);
    LIST_EACH (it, tmp, &p->strays) {
        struct writer *w = LIST_ENTRY(it, struct writer, link);
        struct pollfd end = {.fd = w->pidfd, .events = POLLIN};

        (void)poll(&end, 1, REAP_MS); /* late or not: what hangs is left to hang */
        writer_reap(w);
    }
    free(p->folder);
    free(p);
}

void disk_probe_watch(struct disk_probe *p, const char *folder, msec every_ms)
{
    CHECK(every_ms > 0);
    p->every_ms = every_ms;
    if (p->board)
        atomic_store(&p->board->every_ms, every_ms);
    if (str_eq(folder, p->folder))
        return;
    writer_let_go(p);
    str_set(&p->folder, folder);
    start_again(p);
}

void disk_probe_view(const struct disk_probe *p, struct disk_probe_view *ret_view)
{
    struct board *b = p->board;

    *ret_view = (struct disk_probe_view){0};
    if (!b || !atomic_load(&b->known))
        return;
    int64_t begun_us = atomic_load(&b->begun_us);
    *ret_view = (struct disk_probe_view){
        .known = true,
        .took_us = atomic_load(&b->took_us),
        .under_way_ms = begun_us ? msec_max(0, (clock_us() - begun_us) / US_PER_MS) : 0,
        .error = atomic_load(&b->error),
        .free_bytes = atomic_load(&b->free_bytes),
        .total_bytes = atomic_load(&b->total_bytes),
    };
}
