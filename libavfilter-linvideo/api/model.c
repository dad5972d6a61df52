/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "api/model.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/common.h"
#include "config.h"

/* Of bundles and of manifests. */
static const char *const endings[] = { ".safetensors", ".json" };

/* Folders, colon-separated. */
typedef struct Folders {
    char list[LV_PATH_SIZE];
    size_t n;
} Folders;

static void add(Folders *f, const char *folder, const char *below)
{
    int n;

    if (!folder || !*folder || f->n >= sizeof(f->list))
        return;
    n = snprintf(f->list + f->n, sizeof(f->list) - f->n, "%s%s%s", f->n ? ":" : "", folder,
                 below);
    f->n += (size_t)n;
    if (f->n >= sizeof(f->list))
        f->list[f->n - (size_t)n] = 0; /* no half a name */
}

/* File that this code is in: the shared library, or the program itself. */
static int own_file(char path[PATH_MAX])
{
    const void *program = (const void *)getauxval(AT_PHDR);
    Dl_info here, main_one;

    if (!dladdr((const void *)(uintptr_t)own_file, &here))
        return -1;
    if (dladdr(program, &main_one) && main_one.dli_fbase == here.dli_fbase)
        return realpath("/proc/self/exe", path) ? 0 : -1;
    return realpath(here.dli_fname, path) ? 0 : -1;
}

/* Models lie beside the code in a tree that was built or moved: "build/../samples",
 * "lib/../share". */
static void add_beside(Folders *f, const char *below)
{
    static const char *const up[] = { "/..", "/../.." };
    char path[PATH_MAX + 64], whole[PATH_MAX];
    size_t n;

    if (own_file(path) < 0 || !strrchr(path, '/'))
        return;
    n = (size_t)(strrchr(path, '/') - path);
    for (int i = 0; i < LV_COUNT(up); i++) {
        snprintf(path + n, sizeof(path) - n, "%s%s", up[i], below);
        if (realpath(path, whole) && strcmp(whole, LINVIDEO_DATADIR))
            add(f, whole, "");
    }
}

static void search_path(Folders *f)
{
    const char *data = getenv("XDG_DATA_HOME");

    *f = (Folders) { .n = 0 };
    add(f, getenv("LINVIDEO_MODEL_PATH"), "");
    if (data && *data)
        add(f, data, "/linvideo");
    else
        add(f, getenv("HOME"), "/.local/share/linvideo");
    add_beside(f, "/samples");
    add_beside(f, "/share/linvideo");
    add(f, LINVIDEO_DATADIR, "");
}

static int is_path(const char *name)
{
    size_t len = strlen(name), end;

    for (int i = 0; i < LV_COUNT(endings); i++) {
        end = strlen(endings[i]);
        if (len > end && !strcmp(name + len - end, endings[i]))
            return 1;
    }
    return strchr(name, '/') != NULL;
}

static int is_file(const char *name)
{
    struct stat st;

    return !stat(name, &st) && S_ISREG(st.st_mode);
}

int lv_model_find(char path[LV_PATH_SIZE], const char *name, const LvMsg *msg)
{
    Folders folders;
    const char *p = folders.list;

    if (!name || !*name)
        name = LV_DEFAULT_MODEL;
    if (is_path(name)) {
        if (snprintf(path, LV_PATH_SIZE, "%s", name) < LV_PATH_SIZE)
            return 0;
        return lv_fail(msg, LV_ERR(ENAMETOOLONG), "model: path too long");
    }
    search_path(&folders);
    while (*p) {
        int len = (int)strcspn(p, ":");
        for (int i = 0; i < LV_COUNT(endings) && len; i++) {
            int put = snprintf(path, LV_PATH_SIZE, "%.*s/%s%s", len, p, name, endings[i]);
            if (put < LV_PATH_SIZE && !access(path, R_OK))
                return 0;
        }
        p += len + (p[len] == ':');
    }
    /* A file of the folder one is in may have any ending. */
    if (is_file(name) && snprintf(path, LV_PATH_SIZE, "%s", name) < LV_PATH_SIZE)
        return 0;
    return lv_fail(msg, LV_ERR(ENOENT), "no model '%s': looked for %s.safetensors and "
                   ".json in %s; set LINVIDEO_MODEL_PATH or give a path", name, name, folders.list);
}
