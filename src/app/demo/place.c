#include "app/demo/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/str.h"

/* The user to become; NULL if we are an ordinary one already. False: there is none. */
static bool choose_user(const struct passwd **ret_user, struct err *err)
{
    const char *sudo_user = getenv("SUDO_USER");

    *ret_user = NULL;
    if (geteuid() != 0)
        return true;
    *ret_user = getpwnam("postgres");
    if (!*ret_user && sudo_user)
        *ret_user = getpwnam(sudo_user);
    if (!*ret_user || (*ret_user)->pw_uid == 0)
        return err_set(err, ERR_DENIED,
                       "PostgreSQL does not run as root, and there is no user `postgres`: "
                       "start the demo as an ordinary user");
    return true;
}

static bool make_given(const char *dir, char **ret_dir, struct err *err)
{
    char whole[PATH_MAX];
    DIR *d;

    if (mkdir(dir, 0755) < 0 && errno != EEXIST)
        return err_sys(err, errno, "making %s", dir);
    if (!realpath(dir, whole) || !(d = opendir(whole)))
        return err_sys(err, errno, "opening %s", dir);
    int entries = 0;
    while (readdir(d))
        entries++;
    (void)closedir(d); /* it was only read */
    if (entries > 2)
        return err_set(err, ERR_INPUT, "%s is not empty; the demo wants a folder of its own", dir);
    *ret_dir = str_dup(whole);
    return true;
}

/* True if the user can execute a program in dir: neither a closed parent nor a noexec mount is in the way. */
static bool user_can_run_in(const char *dir, const struct passwd *user)
{
    AUTO(cstr) char *probe = str_fmt("%s/probe", dir);
    pid_t pid = fork();
    int status = -1;

    if (pid < 0)
        return false;
    if (pid == 0) {
        if (user && (setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
            _exit(1);
        int fd = open(probe, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
        if (fd < 0 || write(fd, "#!/bin/sh\n", 10) != 10 || close(fd) < 0)
            _exit(1);
        (void)execl(probe, probe, (char *)NULL);
        _exit(1);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    (void)unlink(probe);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool make_new(const struct passwd *user, char **ret_dir, struct err *err)
{
    const char *places[] = {getenv("TMPDIR"), "/tmp", "/var/tmp"};

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (str_empty(places[i]))
            continue;
        AUTO(cstr) char *dir = str_fmt("%s/pgkeep-demo-XXXXXX", places[i]);
        if (!mkdtemp(dir))
            continue;
        bool ours = chmod(dir, 0755) == 0 && (!user || chown(dir, user->pw_uid, user->pw_gid) == 0);
        if (ours && user_can_run_in(dir, user)) {
            *ret_dir = TAKE(dir);
            return true;
        }
        (void)rmdir(dir); /* an empty folder more or less */
    }
    return err_set(err, ERR_SYS, "no place to run programs in: neither $TMPDIR, /tmp nor /var/tmp will do; use --dir");
}

static bool copy_program(const char *from, const char *to, struct err *err)
{
    struct stat st;
    AUTO(fd) int in = open(from, O_RDONLY | O_CLOEXEC);
    AUTO(fd) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

    if (in < 0)
        return err_sys(err, errno, "opening %s", from);
    if (out < 0)
        return err_sys(err, errno, "making %s", to);
    if (fstat(in, &st) < 0 || fchmod(out, 0755) < 0)
        return err_sys(err, errno, "copying %s", from);
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = sendfile(out, in, NULL, (size_t)left);
        if (n <= 0)
            return err_sys(err, n < 0 ? errno : EIO, "copying %s to %s", from, to);
        left -= n;
    }
    return true;
}

/* The guard is looked for as `pgkeep run` looks for it: beside us, in the build tree, where it is installed. */
static bool find_guard(const char *self, char **ret_path, struct err *err)
{
    static const char *const places[] = {"", "guard/", "../libexec/pgkeep/", "../lib/pgkeep/"};
    const char *slash = strrchr(self, '/');

    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        AUTO(cstr) char *path = str_fmt("%.*s/%spgkeep-guard", (int)(slash - self), self, places[i]);
        if (access(path, X_OK) == 0) {
            *ret_path = TAKE(path);
            return true;
        }
    }
    return err_set(err, ERR_NOT_FOUND, "pgkeep-guard is neither beside %s nor in ../libexec/pgkeep", self);
}

/* bin/ is the user's too, so that they can remove it in the end. */
static bool stage_programs(const char *self, const struct passwd *user, struct place *p, struct err *err)
{
    AUTO(cstr) char *bin = str_fmt("%s/bin", p->dir);
    AUTO(cstr) char *guard = NULL;
    AUTO(cstr) char *guard_copy = str_fmt("%s/pgkeep-guard", bin);

    if (mkdir(bin, 0755) < 0 || chown(bin, user->pw_uid, user->pw_gid) < 0)
        return err_sys(err, errno, "making %s", bin);
    p->program = str_fmt("%s/pgkeep", bin);
    return find_guard(self, &guard, err) && copy_program(self, p->program, err) && copy_program(guard, guard_copy, err);
}

static bool become(const struct passwd *user, const char *home, struct err *err)
{
    if (initgroups(user->pw_name, user->pw_gid) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
        return err_sys(err, errno, "becoming user %s", user->pw_name);
    if (setenv("HOME", home, 1) < 0 || setenv("USER", user->pw_name, 1) < 0 || setenv("LOGNAME", user->pw_name, 1) < 0)
        return err_sys(err, errno, "setting the environment");
    return chdir(home) == 0 || err_sys(err, errno, "entering %s", home);
}

bool place_make(const char *dir, struct place *ret, struct err *err)
{
    const struct passwd *user = NULL;
    struct place p = {0};
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (len < 0)
        return err_sys(err, errno, "finding our own program");
    self[len] = '\0';
    if ((dir && !make_given(dir, &p.dir, err)) || !choose_user(&user, err) || (!dir && !make_new(user, &p.dir, err))) {
        place_deinit(&p);
        return false;
    }

    bool ok = true;
    CHECK(p.dir);
    if (user) {
        ok = chown(p.dir, user->pw_uid, user->pw_gid) == 0 ||
             err_sys(err, errno, "giving %s to %s", p.dir, user->pw_name);
        ok = ok && (user_can_run_in(p.dir, user) ||
                    err_set(err, ERR_DENIED, "user %s cannot run programs in %s", user->pw_name, p.dir));
        ok = ok && stage_programs(self, user, &p, err) && become(user, p.dir, err);
        p.user = str_dup(user->pw_name);
    } else {
        p.program = str_dup(self);
    }
    if (!ok) {
        place_deinit(&p);
        return false;
    }
    *ret = p;
    return true;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at)
{
    int failed = (type == FTW_DP ? rmdir(path) : unlink(path)) < 0 ? errno : 0;

    (void)st;
    /* The folder itself may have been given to us in a place where we may not remove it: empty will do. */
    return at->level == 0 || failed == ENOENT ? 0 : failed;
}

bool place_remove(const struct place *p, struct err *err)
{
    int failed = nftw(p->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);

    return failed == 0 || err_sys(err, failed < 0 ? errno : failed, "removing %s", p->dir);
}

void place_deinit(struct place *p)
{
    free(p->dir);
    free(p->program);
    free(p->user);
    *p = (struct place){0};
}
