#include "pg/names.h"

#include <stdlib.h>

#include "base/str.h"
#include "pg/file.h"
#include "pg/instance.h"

char *names_path(const struct pg_instance *i)
{
    return str_fmt("%s/%s", i->config_dir, NAMES_FILE);
}

bool names_remove(const struct pg_instance *i, struct err *err)
{
    AUTO(cstr) char *path = names_path(i);
    AUTO(cstr) char *copied = str_fmt("%s/%s", i->data_dir, NAMES_FILE); /* a clone of one that has its files there */

    return file_remove(path, err) && (str_eq(path, copied) || file_remove(copied, err));
}
