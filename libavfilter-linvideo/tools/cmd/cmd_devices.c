/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * `linvideo devices`: what --device may name here, and why not the rest.
 */

#include "tools/cmd/commands.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/cuda/cuda_device.h"
#include "backend/device.h"
#include "base/common.h"
#include "tools/share/arguments.h"
#include "tools/share/message.h"

/* Reasons are what is asked for here, not errors. */
static void keep_line(void *opaque, int level, const char *line)
{
    (void)level;
    snprintf(opaque, 512, "%s", line);
}

static const char *version_text(char *buf, size_t size, int version)
{
    snprintf(buf, size, "CUDA %d.%d", version / 1000, version % 1000 / 10);
    return buf;
}

static double total_memory(void)
{
    return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

static void print_cpu(const LvDevice *cpu)
{
    char memory[2][32];

    printf("%-8s %s, %s of %s free\n", "cpu", cpu->about,
           lv_bytes_text(memory[0], sizeof(memory[0]), (double)lv_device_available(cpu)),
           lv_bytes_text(memory[1], sizeof(memory[1]), total_memory()));
}

static void print_card(const LvCard *c, int index)
{
    char name[32], memory[2][32], version[32];

    snprintf(name, sizeof(name), "cuda:%d", index);
    printf("%-8s %s, compute capability %d.%d, ", name, c->name, c->major, c->minor);
    if (c->total)
        printf("%s of %s free, ",
               lv_bytes_text(memory[0], sizeof(memory[0]), (double)c->free),
               lv_bytes_text(memory[1], sizeof(memory[1]), (double)c->total));
    printf("driver of %s\n", version_text(version, sizeof(version), c->driver));
    if (*c->why_not)
        printf("%-8s not usable: %s\n", "", c->why_not);
}

static json_t *card_json(const LvCard *c, int index)
{
    char name[32], version[32];

    snprintf(name, sizeof(name), "cuda:%d", index);
    snprintf(version, sizeof(version), "%d.%d", c->major, c->minor);
    return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:b, s:s}", "device", name, "name",
                     c->name, "capability", version, "free", (json_int_t)c->free, "total",
                     (json_int_t)c->total, "driver", c->driver, "usable", !*c->why_not,
                     "why_not", c->why_not);
}

static int print_json(const LvDevice *cpu, const LvCard *cards, int nb, const char *why)
{
    json_t *list = json_array(), *all;
    int ret;

    for (int i = 0; i < nb; i++)
        json_array_append_new(list, card_json(&cards[i], i));
    all = json_pack("{s:{s:s, s:i, s:I, s:I, s:b}, s:o, s:s}", "cpu", "about", cpu->about,
                    "threads", cpu->threads, "free", (json_int_t)lv_device_available(cpu),
                    "total", (json_int_t)total_memory(), "bf16", cpu->bf16, "cuda", list,
                    "why_no_cuda", why);
    ret = all ? json_dumpf(all, stdout, JSON_INDENT(1)) : -1;
    putchar('\n');
    json_decref(all);
    return ret < 0 ? lv_tool_fail(LV_EXIT_FAILED, "out of memory") : LV_EXIT_OK;
}

static void help(void)
{
    puts("Usage: linvideo devices [--json]\n"
         "\n"
         "Lists the devices that --device may name on this machine, and says why others\n"
         "cannot be used. \"auto\" is the first CUDA device that can be used, else the CPU.\n"
         "\n"
         "  --json                print JSON");
}

static int cmd_devices(int argc, char **argv)
{
    LvArgs a = { .argc = argc, .argv = argv, .at = 1 };
    LvCard cards[LV_MAX_CARDS];
    char why[512] = "";
    const LvMsg msg = { keep_line, why, LV_MSG_ERROR };
    LvDevice *cpu = NULL;
    int json = 0, nb;

    while (lv_args_next(&a)) {
        if (!strcmp(a.name, "h") || !strcmp(a.name, "help"))
            return help(), LV_EXIT_OK;
        if (strcmp(a.name, "json"))
            return lv_tool_fail(LV_EXIT_USAGE, "no option or word \"%s\"; linvideo devices "
                                "--help lists them", *a.name ? a.name : a.value);
        json = 1;
    }
    if (lv_device_open(&cpu, "cpu", NULL, &msg) < 0)
        return lv_tool_fail(LV_EXIT_FAILED, "%s", why);
    nb = LV_MIN(lv_cuda_list(cards, LV_MAX_CARDS, &msg), LV_MAX_CARDS);
    if (json) {
        int code = print_json(cpu, cards, nb, why);
        lv_device_close(&cpu);
        return code;
    }
    print_cpu(cpu);
    for (int i = 0; i < nb; i++)
        print_card(&cards[i], i);
    if (*why)
        printf("%-8s none here; %s\n", "cuda", why);
    lv_device_close(&cpu);
    return LV_EXIT_OK;
}

const LvCommand lv_cmd_devices = {
    .name  = "devices",
    .about = "list the devices of this machine",
    .run   = cmd_devices,
};
