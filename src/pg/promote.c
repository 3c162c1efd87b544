#include "pg/promote.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/check.h"
#include "base/str.h"
#include "pg/file.h"

enum { SKIPPED_MAX = 1000 }; /* each of them is a promotion that came to nothing */

bool promote_skip_to(const char *data_dir, uint32_t newest, uint32_t tli, struct err *err)
{
    if (tli > newest && tli - newest > SKIPPED_MAX)
        return err_set(err, ERR_INPUT,
                       "promotion: timeline %u is to be taken, %u is the newest here: somebody told a wrong one", tli,
                       newest);
    for (uint32_t skipped = 2; skipped < tli; skipped++) {
        if (skipped == newest)
            continue;
        AUTO(cstr) char *path = str_fmt("%s/pg_wal/%08X.history", data_dir, skipped);
        AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST) /* that number is taken for real */
            return err_sys(err, errno, "promotion: making %s", path);
    }
    return true;
}

bool promote_trigger(const char *data_dir, pid_t postmaster, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/promote", data_dir);

    CHECK(postmaster > 1);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* not synced: it is for this moment only */
    if (fd < 0)
        return err_sys(err, errno, "promotion: making %s", path);
    if (kill(postmaster, SIGUSR1) != 0) {
        int kill_errno = errno;
        (void)promote_withdraw(data_dir, NULL); /* the error below is the one to tell; start and follow clear again */
        return err_sys(err, kill_errno, "promotion: signalling postmaster %d", (int)postmaster);
    }
    return true;
}

bool promote_withdraw(const char *data_dir, struct err *err)
{
    AUTO(cstr) char *path = str_fmt("%s/promote", data_dir);

    return file_remove(path, err) || err_wrap(err, "withdrawing a promotion");
}
