/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "backend/cuda/cuda_device.h"

#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/cast.h"
#include "backend/cuda/gemm.h"
#include "backend/cuda/nccl.h"

/* The oldest driver whose interface is used: that of CUDA 12.0. */
enum { MIN_DRIVER = 12000 };

/* See LvDeviceOptions. */
enum { SCORES = 128 << 20 };

/* Memory */

static void use(const LvDevice *dev)
{
    const LvCuda *cu = (const LvCuda *)dev;

    cu->drv.context_set(cu->ctx);
}

static size_t cuda_available(const LvDevice *dev)
{
    const LvCuda *cu = (const LvCuda *)dev;
    size_t free_bytes = 0, total = 0;

    use(dev);
    return cu->drv.mem_info(&free_bytes, &total) == CU_SUCCESS ? free_bytes : 0;
}

static void *cuda_alloc(LvDevice *dev, size_t bytes)
{
    LvCuda *cu  = lv_cuda(dev);
    CuAddress p = 0;

    use(dev);
    bytes = LV_MAX(bytes, 1);
    if (cu->drv.mem_alloc(&p, bytes) != CU_SUCCESS)
        return NULL;
    if (cu->drv.mem_set(p, 0, bytes, cu->stream) != CU_SUCCESS) {
        cu->drv.mem_free(p);
        return NULL;
    }
    return (void *)(uintptr_t)p;
}

static void cuda_free(LvDevice *dev, void *p)
{
    use(dev);
    if (p)
        lv_cuda(dev)->drv.mem_free((CuAddress)(uintptr_t)p);
}

static int cuda_sync(LvDevice *dev)
{
    LvCuda *cu = lv_cuda(dev);

    use(dev);
    return lv_cuda_check(cu, cu->drv.stream_sync(cu->stream), "work");
}

/* The source may be written over as soon as this returns. */
static int cuda_upload(LvDevice *dev, void *dst, const void *src, size_t bytes)
{
    LvCuda *cu = lv_cuda(dev);
    int ret;

    use(dev);
    ret = cu->drv.upload((CuAddress)(uintptr_t)dst, src, bytes, cu->stream);
    return ret ? lv_cuda_check(cu, ret, "upload") : cuda_sync(dev);
}

static int cuda_download(LvDevice *dev, void *dst, const void *src, size_t bytes)
{
    LvCuda *cu = lv_cuda(dev);
    int ret;

    use(dev);
    ret = cu->drv.download(dst, (CuAddress)(uintptr_t)src, bytes, cu->stream);
    return ret ? lv_cuda_check(cu, ret, "download") : cuda_sync(dev);
}

/* Copies of weights */

static int make_event(LvCuda *cu, CuEvent *e, unsigned flags)
{
    return lv_cuda_check(cu, cu->drv.event_create(e, flags), "an event");
}

static const char a_copy[] = "a copy of weights";

static int start_copies(LvCuda *cu)
{
    int ret = cu->copies ? 0 : lv_cuda_check(cu, cu->drv.stream_create(&cu->copies,
                                             CU_STREAM_FREE), "a stream");

    if (ret >= 0 && !cu->worked)
        ret = make_event(cu, &cu->worked, CU_EVENT_NO_TIME);
    for (int i = 0; i < LV_SLOTS && ret >= 0; i++)
        if (!cu->came[i])
            ret = make_event(cu, &cu->came[i], CU_EVENT_NO_TIME);
    return ret;
}

static int cuda_fetch(LvDevice *dev, int slot, void *dst, const LvCopy *copy, int nb)
{
    LvCuda *cu = lv_cuda(dev);
    int ret    = 0, failed;

    use(dev);
    if (!cu->came[LV_SLOTS - 1] && (ret = start_copies(cu)) < 0)
        return ret;
    if (!(failed = cu->drv.event_record(cu->worked, cu->stream)))
        failed = cu->drv.stream_wait(cu->copies, cu->worked, 0);
    for (int i = 0; i < nb && !failed; i++)
        failed = cu->drv.upload((CuAddress)(uintptr_t)dst + copy[i].at, copy[i].src,
                                copy[i].bytes, cu->copies);
    if (!failed)
        failed = cu->drv.event_record(cu->came[slot], cu->copies);
    return lv_cuda_check(cu, failed, a_copy);
}

static int cuda_fetched(LvDevice *dev, int slot)
{
    LvCuda *cu = lv_cuda(dev);

    use(dev);
    return lv_cuda_check(cu, cu->drv.stream_wait(cu->stream, cu->came[slot], 0), a_copy);
}

static void cuda_settle(LvDevice *dev)
{
    use(dev);
    if (lv_cuda(dev)->copies)
        lv_cuda(dev)->drv.stream_sync(lv_cuda(dev)->copies);
}

static int cuda_send(LvDevice *dev, int n, void *dst, const void *src, size_t bytes,
                     const LvMsg *msg)
{
    LvCuda *cu = lv_cuda(dev);
    int failed = 0;

    use(dev);
    if (!cu->gone[n])
        failed = cu->drv.event_create(&cu->gone[n], CU_EVENT_NO_TIME);
    if (!failed)
        failed = cu->drv.upload((CuAddress)(uintptr_t)dst, src, bytes, cu->copies);
    if (!failed)
        failed = cu->drv.event_record(cu->gone[n], cu->copies);
    return lv_cuda_check_for(cu, failed, a_copy, msg);
}

static int cuda_sent(LvDevice *dev, int n, const LvMsg *msg)
{
    LvCuda *cu = lv_cuda(dev);

    use(dev);
    return lv_cuda_check_for(cu, cu->drv.event_sync(cu->gone[n]), a_copy, msg);
}

/* `then` waits for what was started on `first`. */
static int follow(LvCuda *cu, CuStream first, CuStream then)
{
    int failed = cu->drv.event_record(cu->worked, first);

    return failed ? failed : cu->drv.stream_wait(then, cu->worked, 0);
}

static int cuda_meet(LvDevice *dev)
{
    LvCuda *cu = lv_cuda(dev);
    int ret, failed;

    use(dev);
    if ((ret = start_copies(cu)) < 0)
        return ret;
    if (!(failed = follow(cu, cu->stream, cu->copies)))
        failed = follow(cu, cu->copies, cu->stream);
    return lv_cuda_check(cu, failed, a_copy);
}

static void free_copies(LvCuda *cu)
{
    cuda_settle(&cu->dev);
    for (int i = 0; i < LV_SENDS; i++)
        if (cu->gone[i])
            cu->drv.event_destroy(cu->gone[i]);
    for (int i = 0; i < LV_SLOTS; i++)
        if (cu->came[i])
            cu->drv.event_destroy(cu->came[i]);
    if (cu->worked)
        cu->drv.event_destroy(cu->worked);
    if (cu->copies)
        cu->drv.stream_destroy(cu->copies);
}

static void cuda_pin(LvDevice *dev, void *host, size_t bytes)
{
    use(dev);
    lv_cuda(dev)->drv.host_register(host, bytes, 0);
}

static void cuda_unpin(LvDevice *dev, void *host)
{
    use(dev);
    lv_cuda(dev)->drv.host_unregister(host);
}

/* Marks 0 to n. */
static int make_marks(LvCuda *cu, int n)
{
    CuEvent *more = realloc(cu->marks, (size_t)(n + 1) * sizeof(*more));
    int ret = 0;

    if (!more)
        return lv_fail(cu->dev.msg, LV_ERR(ENOMEM), "cuda: out of memory");
    cu->marks = more;
    while (cu->nb_marks <= n && ret >= 0) {
        ret = make_event(cu, &more[cu->nb_marks], 0);
        cu->nb_marks += ret >= 0;
    }
    return ret;
}

static int cuda_mark(LvDevice *dev, int n)
{
    LvCuda *cu = lv_cuda(dev);
    int ret    = 0;

    use(dev);
    if (n >= cu->nb_marks && (ret = make_marks(cu, n)) < 0)
        return ret;
    return lv_cuda_check(cu, cu->drv.event_record(cu->marks[n], cu->stream), "a mark");
}

static double cuda_between(LvDevice *dev, int from, int to)
{
    LvCuda *cu = lv_cuda(dev);
    float ms   = 0;

    use(dev);
    cu->drv.event_elapsed(&ms, cu->marks[from], cu->marks[to]);
    return ms * 1e-3;
}

static void free_marks(LvCuda *cu)
{
    for (int i = 0; i < cu->nb_marks; i++)
        cu->drv.event_destroy(cu->marks[i]);
    free(cu->marks);
}

static int cuda_capture_begin(LvDevice *dev)
{
    LvCuda *cu = lv_cuda(dev);

    use(dev);
    if (cu->drv.capture_begin(cu->stream, CU_CAPTURE_RELAXED) != CU_SUCCESS)
        return LV_ERR_DEVICE;
    cu->recording = 1;
    return 0;
}

static void *cuda_capture_end(LvDevice *dev, int wanted)
{
    LvCuda *cu = lv_cuda(dev);
    CuGraph graph    = NULL;
    CuGraphExec exec = NULL;

    cu->recording = 0;
    if (cu->drv.capture_end(cu->stream, &graph) != CU_SUCCESS || !graph)
        return NULL;
    if (wanted && cu->drv.graph_instantiate(&exec, graph, 0) != CU_SUCCESS)
        exec = NULL;
    cu->drv.graph_destroy(graph);
    return exec;
}

static int cuda_capture_replay(LvDevice *dev, void *recording)
{
    LvCuda *cu = lv_cuda(dev);

    use(dev);
    return lv_cuda_check(cu, cu->drv.graph_launch(recording, cu->stream), "a recording");
}

static void cuda_capture_free(LvDevice *dev, void *recording)
{
    use(dev);
    lv_cuda(dev)->drv.graph_exec_destroy(recording);
}

static int cuda_reserve(LvDevice *dev, size_t bytes)
{
    (void)bytes;
    use(dev);
    return 0;
}

static void cuda_release(LvDevice *dev, int op, LvCall *call)
{
    (void)dev, (void)op, (void)call;
}

/* Opening */

static void cuda_close(LvDevice *dev)
{
    LvCuda *cu = lv_cuda(dev);

    if (cu->ctx) {
        use(dev);
        if (cu->stream)
            cu->drv.stream_sync(cu->stream);
        lv_cuda_free_gemms(cu);
        free_marks(cu);
        free_copies(cu);
        cuda_free(dev, cu->workspace);
        if (cu->lt)
            cu->drv.lt.destroy(cu->lt);
        for (int i = 0; i < LV_FILE_NB; i++)
            if (cu->module[i])
                cu->drv.module_unload(cu->module[i]);
        if (cu->stream)
            cu->drv.stream_destroy(cu->stream);
        if (!cu->foreign)
            cu->drv.context_release(cu->device);
    }
    lv_driver_close(&cu->drv);
    free(cu);
}

static const LvOpTable plan = {
#define PLAN_ROW(name, Type) .name = lv_cuda_plan_##name,
    LV_CUDA_PLANS(PLAN_ROW)
#undef PLAN_ROW
};

static const LvOpTable ready = {
#define READY_ROW(name, Type) .name = lv_cuda_ready_##name,
    LV_CUDA_READIES(READY_ROW)
#undef READY_ROW
};

static const LvOpTable build = {
#define BUILD_ROW(name, Type) .name = lv_cuda_build_##name,
    LV_CUDA_BUILDS(BUILD_ROW)
#undef BUILD_ROW
};

static const LvOpTable run = {
#define RUN_ROW(NAME, name, Type, in, out) .name = lv_cuda_##name,
    LV_OPS(RUN_ROW)
#undef RUN_ROW
};

static const LvPinFns pins = { cuda_pin, cuda_unpin };
static const LvTimerFns timer = { cuda_mark, cuda_between };

static const LvCopyFns copies = {
    .fetch = cuda_fetch, .fetched = cuda_fetched, .send = cuda_send, .sent = cuda_sent,
    .meet = cuda_meet, .settle = cuda_settle,
};

static const LvCaptureFns capture = {
    .begin = cuda_capture_begin, .end = cuda_capture_end, .replay = cuda_capture_replay,
    .free = cuda_capture_free,
};

static const LvDeviceFns fns = {
    .name = "cuda", .close = cuda_close, .alloc = cuda_alloc, .free = cuda_free,
    .upload = cuda_upload, .download = cuda_download, .sync = cuda_sync,
    .available = cuda_available, .reserve = cuda_reserve, .release = cuda_release,
    .pins = &pins, .copies = &copies, .timer = &timer, .capture = &capture,
    .group = &lv_nccl_group,
    .plan = &plan, .ready = &ready, .build = &build, .run = &run,
};

/* Start the driver. @return devices there are, or a code */
static int start_driver(LvCuda *cu, int *version)
{
    int count = 0, ret = cu->drv.init(0);

    if (ret == CU_NO_DEVICE)
        return lv_fail(cu->dev.msg, LV_ERR_DEVICE, "cuda: the driver sees no device");
    if ((ret = lv_cuda_check(cu, ret, "starting the driver")) < 0)
        return ret;
    cu->drv.driver_version(version);
    if (*version < MIN_DRIVER)
        return lv_fail(cu->dev.msg, LV_ERR_DEVICE,
                       "cuda: the driver is too old: it has CUDA %d.%d, %d.%d is "
                       "needed", *version / 1000, *version % 1000 / 10,
                       MIN_DRIVER / 1000, MIN_DRIVER % 1000 / 10);
    cu->drv.device_count(&count);
    return count;
}

/* The number of cu->device among `count`. */
static int index_of(LvCuda *cu, int count)
{
    CuDevice d;

    for (int i = 0; i < count; i++)
        if (cu->drv.device_get(&d, i) == CU_SUCCESS && d == cu->device)
            return i;
    return 0;
}

/* Work in the caller's context, on the device that it is of. @return its number */
static int take_context(LvCuda *cu, const LvDeviceOptions *opt, int count)
{
    int index, ret;

    cu->ctx     = opt->context;
    cu->foreign = 1;
    if ((ret = lv_cuda_check(cu, cu->drv.context_set(cu->ctx), "the caller's context")) < 0 ||
        (ret = lv_cuda_check(cu, cu->drv.context_device(&cu->device),
                             "the caller's context")) < 0)
        return ret;
    index = index_of(cu, count);
    if (opt->index < 0 || opt->index == index)
        return index;
    return lv_fail(cu->dev.msg, LV_ERR(EINVAL), "device is cuda:%d, but the caller's CUDA "
                   "context is of cuda:%d", opt->index, index);
}

/* @return the device's number, or a code */
static int find_device(LvCuda *cu, const LvDeviceOptions *opt)
{
    int version = 0, count = start_driver(cu, &version), index = LV_MAX(opt->index, 0), ret;

    if (count < 0)
        return count;
    if (opt->context)
        return take_context(cu, opt, count);
    if (index >= count)
        return lv_fail(cu->dev.msg, LV_ERR_DEVICE, "cuda: no device %d, there %s %d",
                       index, count == 1 ? "is" : "are", count);
    ret = lv_cuda_check(cu, cu->drv.device_get(&cu->device, index), "the device");
    return ret < 0 ? ret : index;
}

static void describe(LvCuda *cu, int index)
{
    char name[64] = "";
    int major = 0, minor = 0, shared = 0;

    cu->drv.device_name(name, sizeof(name), cu->device);
    cu->drv.device_attribute(&cu->processors, CU_ATTR_PROCESSORS, cu->device);
    cu->drv.device_attribute(&major, CU_ATTR_MAJOR, cu->device);
    cu->drv.device_attribute(&minor, CU_ATTR_MINOR, cu->device);
    cu->drv.device_attribute(&shared, CU_ATTR_SHARED, cu->device);
    cu->arch = 10 * major + minor;
    cu->block_bytes = (size_t)shared;
    cu->dev.f8      = cu->arch >= 89;
    snprintf(cu->dev.about, sizeof(cu->dev.about), "cuda:%d (%s, %d.%d)", index, name,
             major, minor);
}

static int start(LvCuda *cu)
{
    int ret = 0;

    if (!cu->foreign)
        ret = lv_cuda_check(cu, cu->drv.context_retain(&cu->ctx, cu->device), "a context");
    if (ret < 0)
        return ret;
    cu->drv.context_set(cu->ctx);
    ret = lv_cuda_check(cu, cu->drv.stream_create(&cu->stream, CU_STREAM_FREE),
                        "a stream");
    if (ret < 0)
        return ret;
    if (cu->drv.lt.create(&cu->lt))
        return lv_fail(cu->dev.msg, LV_ERR_DEVICE, "cuda: cuBLASLt does not start");
    ret = lv_device_alloc(&cu->dev, &cu->workspace, LV_CUDA_WORKSPACE, "matmuls");
    if (ret < 0)
        return ret;
    /* a launch of nothing loads a file of kernels: is this build for the device? */
    return lv_cuda_launch(cu, LV_K_cast, (LvGrid) { 0 }, NULL);
}

static LvCuda *new_cuda(const LvMsg *msg)
{
    LvCuda *cu = calloc(1, sizeof(*cu));

    if (cu)
        cu->dev = (LvDevice) { .fn = &fns, .msg = msg, .threads = 1, .bf16 = 1,
                               .widens = 1 };
    else
        lv_msg(msg, LV_MSG_ERROR, "cuda: out of memory");
    return cu;
}

int lv_cuda_open(LvDevice **dev, const LvDeviceOptions *opt, const LvMsg *msg)
{
    LvCuda *cu = new_cuda(msg);
    int ret;

    *dev = NULL;
    if (!cu)
        return LV_ERR(ENOMEM);
    cu->out_stream = opt->stream;
    ret = lv_driver_open(&cu->drv, msg);
    if (ret >= 0 && (ret = find_device(cu, opt)) >= 0) {
        describe(cu, ret);
        cu->newest = opt->newest;
        cu->scores = opt->scores ? opt->scores : SCORES;
        if (cu->arch < 80)
            ret = lv_fail(msg, LV_ERR_DEVICE, "%s: compute capability 8.0 is needed",
                          cu->dev.about);
        else
            ret = start(cu);
    }
    if (ret < 0) {
        cuda_close(&cu->dev);
        return ret;
    }
    *dev = &cu->dev;
    return 0;
}

/* Telling of devices */

static void keep_reason(void *opaque, int level, const char *line)
{
    LvCard *card = opaque;

    (void)level;
    snprintf(card->why_not, sizeof(card->why_not), "%s", line);
}

/* Memory is known to who has opened the device; what that says, if it fails, is why the
 * device can't be used. */
static void ask_memory(LvCard *card, int index)
{
    const LvDeviceOptions opt = { .index = index };
    const LvMsg msg = { keep_reason, card, LV_MSG_ERROR };
    LvDevice *dev;

    if (lv_cuda_open(&dev, &opt, &msg) < 0)
        return;
    use(dev);
    lv_cuda(dev)->drv.mem_info(&card->free, &card->total);
    card->free += LV_CUDA_WORKSPACE;
    lv_device_close(&dev);
}

static void ask_card(LvCuda *cu, LvCard *card, int index, int version)
{
    CuDevice d;

    *card = (LvCard) { .driver = version };
    if (cu->drv.device_get(&d, index) == CU_SUCCESS) {
        cu->drv.device_name(card->name, sizeof(card->name), d);
        cu->drv.device_attribute(&card->major, CU_ATTR_MAJOR, d);
        cu->drv.device_attribute(&card->minor, CU_ATTR_MINOR, d);
    }
    ask_memory(card, index);
}

int lv_cuda_list(LvCard *cards, int most, const LvMsg *msg)
{
    LvCuda *cu = new_cuda(msg);
    int version = 0, ret;

    if (!cu)
        return LV_ERR(ENOMEM);
    ret = lv_driver_open(&cu->drv, msg);
    if (ret >= 0)
        ret = start_driver(cu, &version);
    for (int i = 0; i < LV_MIN(ret, most); i++)
        ask_card(cu, &cards[i], i, version);
    cuda_close(&cu->dev);
    return ret;
}
