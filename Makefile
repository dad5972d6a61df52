# This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
#
# make [all]       library, command, pkg-config files; after ./configure
# make demo        set up what is missing, build, write demo.mp4
# make check       set up what is missing, build, run all tests
# make lint        whitespace, include rule, headers alone, documents' tables
# make docs        those tables, from linvideo/option_table.h
# make tsan        a build with the thread sanitizer, and what runs on threads in it
# make coverage    lines that tests run, by folder
# make check-matrix  frames by compilers, instruction sets and versions of FFmpeg
# make check-series  the drop-in for an ffmpeg of each series, built for it
# make bench       speed of operations and whole networks
# make dropin      libavfilter with the filter for the installed ffmpeg, and
#                  the command ffmpeg-linvideo
# make ffmpeg      a whole patched FFmpeg, FFMPEG_VERSION= 4.4 5.1 6.1 7.1 8.1 9.0
# make deb         Debian packages; make bundle: a folder with an ffmpeg, for any Linux
# make install uninstall dist clean distclean
#
# V=1 shows the commands. BUILD=DIR is where ./configure --builddir=DIR wrote.

BUILD          ?= build
FFMPEG_VERSION ?= 5.1
MODELS          = samples/motion.safetensors samples/motion-teacher.safetensors

# nothing is probed here: all that depends on the machine is in config.mak
ifneq ($(wildcard $(BUILD)/config.mak),)
include $(BUILD)/config.mak
endif

all: lib tools

# objects, floor by floor: each uses only what stands above it; one a line, sorted

L := libavfilter-linvideo

OBJS-base = \
    common.o \
    convert.o \
    deliver.o \
    dtype.o \
    file.o \
    gguf.o \
    hash.o \
    json.o \
    map.o \
    msg.o \
    philox.o \
    quant.o \
    ring.o \
    thread.o \
    safetensors.o \
    sealed.o \
    source.o \
    text.o

OBJS-backend = \
    check.o \
    device.o \
    form.o \
    group.o \
    kinds.o \
    null.o \
    ops.o \
    ranks.o \
    weight.o
OBJS-backend-no = nocuda.o
OBJS-backend += $(OBJS-backend-$(CONFIG_CUDA))

OBJS-backend/cuda-yes = \
    attention.o \
    attention_f8.o \
    attention_wide.o \
    cast.o \
    conv.o \
    conv3.o \
    cuda.o \
    cuda_device.o \
    driver.o \
    elements.o \
    frame.o \
    gemm.o \
    layout.o \
    linattn.o \
    linear.o \
    linear_f8.o \
    nccl.o \
    product.o \
    rows.o
OBJS-backend/cuda = $(OBJS-backend/cuda-$(CONFIG_CUDA))

OBJS-backend/cpu = \
    attention.o \
    attention_grad.o \
    conv.o \
    conv3.o \
    conv_grad.o \
    cpu.o \
    cpu_device.o \
    cpu_group.o \
    dnn.o \
    dsp.o \
    dsp_c.o \
    frame.o \
    layout.o \
    linattn.o \
    linattn_grad.o \
    linear.o \
    linear_grad.o \
    linear_i8.o \
    optim.o \
    pool.o \
    reduce.o \
    rows.o \
    rows_grad.o \
    shared.o
OBJS-backend/cpu-$(HAVE_AVX2)   += dsp_avx2.o
OBJS-backend/cpu-$(HAVE_AVX512) += dsp_avx512.o
OBJS-backend/cpu-$(HAVE_NEON)   += dsp_neon.o
OBJS-backend/cpu += $(OBJS-backend/cpu-yes)

OBJS-graph = \
    dump.o \
    fuse.o \
    grad.o \
    graph.o \
    plan.o \
    program.o \
    slots.o

OBJS-model = \
    clip.o \
    config.o \
    dit.o \
    entities.o \
    files.o \
    list.o \
    lora.o \
    lora_change.o \
    names.o \
    params.o \
    presets.o \
    prompt.o \
    prompt_times.o \
    range.o \
    reader.o \
    recognise.o \
    row.o \
    spm.o \
    spm_gguf.o \
    stored.o \
    tae.o \
    tokenizer.o \
    umt5.o \
    upload.o \
    wan_vae.o \
    weights.o

OBJS-pipeline = \
    block_cache.o \
    budget.o \
    cache.o \
    choices.o \
    clip_vision.o \
    decode.o \
    delivery.o \
    denoise.o \
    devices.o \
    encode.o \
    env.o \
    experts.o \
    footage.o \
    images.o \
    memory.o \
    net.o \
    network.o \
    noise.o \
    place.o \
    prepare.o \
    preview.o \
    resize.o \
    sample.o \
    session.o \
    step_cache.o \
    tiles.o \
    vae.o \
    vae_encode.o \
    windows.o

OBJS-api = \
    image.o \
    lib.o \
    model.o \
    params.o \
    prompt.o \
    video.o \
    yuv_file.o

OBJS-train/clips = \
    brush.o \
    caption.o \
    color.o \
    dice.o \
    grammar.o \
    material.o \
    render.o \
    scene.o \
    shape.o

OBJS-train/reel = \
    art.o \
    design.o \
    effect.o \
    falling.o \
    field.o \
    look.o \
    nature.o \
    reel.o \
    stage.o \
    stock.o \
    things.o \
    tint.o \
    words.o

OBJS-train/run = \
    codec.o \
    feeder.o \
    init.o \
    log.o \
    task.o \
    trainer.o

OBJS-train/measure = \
    blob.o \
    compare.o \
    evaluate.o \
    frechet.o \
    ground.o \
    measure.o \
    track.o \
    traits.o

OBJS-train/pretrain = \
    autoencoder.o \
    export.o \
    flow.o \
    latents.o \
    spm_train.o \
    tokenizer_train.o \
    train_config.o

OBJS-train/post = \
    critic.o \
    delta.o \
    distill.o \
    frozen.o \
    gates.o \
    learn.o \
    linearize.o \
    lora_fit.o \
    maps.o \
    prompts.o \
    publish.o \
    recipe.o \
    states.o \
    steplog.o \
    student.o \
    student_clips.o \
    trajectory.o

OBJS-tools/share = \
    arguments.o \
    blank.o \
    canvas.o \
    encoder.o \
    events.o \
    help.o \
    message.o \
    output.o \
    plot.o \
    png.o \
    post.o \
    preview_png.o \
    probe.o \
    progress.o \
    run.o \
    server.o \
    sheet.o \
    signals.o \
    sink.o \
    y4m.o

OBJS-tools/bench = \
    bench.o \
    clip_run.o \
    clip_model.o \
    networks.o \
    random_file.o \
    rates.o \
    timing.o \
    works.o

OBJS-tools/cmd = \
    cmd_bench.o \
    cmd_compare.o \
    cmd_convert.o \
    cmd_dataset.o \
    cmd_devices.o \
    cmd_distill.o \
    cmd_eval.o \
    cmd_generate.o \
    cmd_inspect.o \
    cmd_linearize.o \
    cmd_report.o \
    cmd_serve.o \
    cmd_setup.o \
    cmd_train.o

OBJS-tools = \
    complete.o \
    linvideo.o

# kernels: each file becomes a fatbin, and that an object that holds it as
# lv_kernels_NAME; what they take of the device goes to NAME.log

KERNELS = \
    attention \
    attention_any \
    attention_dx_sm90 \
    attention_f8 \
    attention_sm90 \
    attention_wide \
    cast \
    conv_sm90 \
    elements \
    frame \
    hedgehog \
    hedgehog_dx \
    hedgehog_sm90 \
    layout \
    linattn \
    optim \
    product \
    quant \
    rows

KERNEL_OBJS-yes = $(KERNELS:%=$(BUILD)/kernels/%.o)

# what each kernel takes of the device, from those logs
RESOURCES-yes = $(BUILD)/kernels/resources.txt

# products

objects   = $(addprefix $(BUILD)/$L/$(1)/,$(OBJS-$(1)))
floors    = $(foreach floor,$(1),$(call objects,$(floor)))
LIB_OBJS  = $(call floors,base backend backend/cpu backend/cuda graph model pipeline api) \
            $(KERNEL_OBJS-$(CONFIG_CUDA))
TRAIN_OBJS = $(call floors,$(addprefix train/,clips reel run measure pretrain post))
TOOL_OBJS = $(call floors,tools/share tools/bench tools/cmd tools)

STATIC_LIB = $(BUILD)/liblinvideo.a
TRAIN_LIB  = $(BUILD)/libtrain.a
SHARED_LIB = $(BUILD)/liblinvideo.so
SONAME     = liblinvideo.so.0
PC         = $(BUILD)/liblinvideo.pc $(BUILD)/liblinvideo-uninstalled.pc
COMMAND    = $(BUILD)/linvideo
FREI0R     = $(BUILD)/frei0r/linvideo.so

LIBS-yes               = $(STATIC_LIB) $(PC) $(RESOURCES-$(CONFIG_CUDA))
LIBS-$(CONFIG_SHARED) += $(SHARED_LIB)
LIBS-$(CONFIG_FREI0R) += $(FREI0R)

lib:   $(LIBS-yes)
tools: $(COMMAND)

# $(call quote,TEXT): one word of the shell, whatever is in it

quote = '$(subst ','\'',$(1))'

# rules; without V=1 each says one short line

Q   = $(if $(V),,@)
say = $(if $(V),,@printf '%-4s %s\n' $(1) $@)

CPPFLAGS = -I$L -I$(BUILD)
COMPILE  = $(CPPFLAGS) $(FLAGS-$(*F)) -MMD -MP -c -o $@ $<

FLAGS-dsp_avx2   = $(AVX2_FLAGS)
FLAGS-dsp_avx512 = $(AVX512_FLAGS)

$(BUILD)/%.o: %.c $(BUILD)/config.mak
	$(call say,CC)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(COMPILE)

$(BUILD)/%.o: %.cc $(BUILD)/config.mak
	$(call say,CXX)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) $(CXXFLAGS) $(COMPILE)

$(BUILD)/kernels/%.fatbin: kernels/%.cu $(BUILD)/config.mak
	$(call say,NVCC)
	$(Q)mkdir -p $(@D)
	$(Q)$(NVCC) $(NVCCFLAGS) -I$L -MD -MP -MF $(@:.fatbin=.d) -MT $@ -Xptxas -v -fatbin \
	    -o $@ $< > $(@:.fatbin=.log) 2>&1 || { cat $(@:.fatbin=.log) >&2; false; }

$(BUILD)/kernels/resources.txt: $(KERNELS:%=$(BUILD)/kernels/%.fatbin) kernels/resources.awk
	$(call say,GEN)
	$(Q)awk -f kernels/resources.awk $(KERNELS:%=$(BUILD)/kernels/%.log) | sort > $@

$(BUILD)/kernels/%.o: $(BUILD)/kernels/%.fatbin kernels/fatbin.S
	$(call say,AS)
	$(Q)$(CC) -DNAME=lv_kernels_$* -DFILE='"$<"' -c -o $@ kernels/fatbin.S

$(STATIC_LIB): $(LIB_OBJS)
	$(call say,AR)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

FLAGS-art = $(TRAIN_CFLAGS)

# training is for the command and the tests, never installed
$(TRAIN_LIB): $(TRAIN_OBJS)
	$(call say,AR)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(SHARED_LIB): $(LIB_OBJS) $L/liblinvideo.v
	$(call say,LD)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script,$L/liblinvideo.v \
	    $(LDFLAGS) -o $(BUILD)/$(SONAME) $(LIB_OBJS) $(LIBS)
	$(Q)ln -sf $(SONAME) $@

# for hosts of frei0r; they unload plugins, but threads of OpenMP outlive a video
FREI0R_LINK-yes = $(SHARED_LIB)
FREI0R_LINK     = $(or $(FREI0R_LINK-$(CONFIG_SHARED)),$(STATIC_LIB) $(LIBS))

FLAGS-frei0r_linvideo = $(FREI0R_CFLAGS) -fvisibility=default

$(FREI0R): $(BUILD)/$L/frei0r_linvideo.o $(firstword $(FREI0R_LINK))
	$(call say,LD)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -shared -Wl,-z,nodelete $(LDFLAGS) -o $@ $< $(FREI0R_LINK) -lm

$(COMMAND): $(TOOL_OBJS) $(TRAIN_LIB) $(STATIC_LIB)
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS) $(PIE) -o $@ $^ $(TRAIN_LIBS) $(LIBS) $(TOOL_LIBS)

# PKG_CONFIG_PATH=build finds the uninstalled form; a .pc file and sed take blanks and
# quotes with backslashes
HERE      = $(if $(filter /%,$(BUILD)),,$(CURDIR)/)$(BUILD)
backslash = $(subst $(1),\\$(1),$(2))
blank     = $(subst ,, )
pc_dir    = $(subst &,\&,$(call backslash,',$(call backslash,",$(call backslash,$(blank),$(1)))))

$(BUILD)/liblinvideo.pc:             PC_LIB = $(LIBDIR)
$(BUILD)/liblinvideo.pc:             PC_INC = $(INCLUDEDIR)
$(BUILD)/liblinvideo-uninstalled.pc: PC_LIB = $(HERE)
$(BUILD)/liblinvideo-uninstalled.pc: PC_INC = $(CURDIR)/$L
$(PC): $L/liblinvideo.pc.in $(BUILD)/config.mak
	$(call say,GEN)
	$(Q)sed -e $(call quote,s|@libdir@|$(call pc_dir,$(PC_LIB))|) \
	    -e $(call quote,s|@includedir@|$(call pc_dir,$(PC_INC))|) \
	    -e $(call quote,s|@prefix@|$(call pc_dir,$(PREFIX))|) \
	    -e 's|@version@|$(VERSION)|; s|@libs@|$(LIBS_PRIVATE)|' \
	    -e 's|@requires@|$(REQUIRES_PRIVATE)|' $< > $@

$(BUILD)/config.mak:
	@echo "Nothing is configured in $(BUILD): run ./configure first, or make demo," >&2
	@echo "which installs what is missing and does it all." >&2
	@false

include tests/Makefile

-include $(LIB_OBJS:.o=.d) $(KERNELS:%=$(BUILD)/kernels/%.d) $(TRAIN_OBJS:.o=.d)  \
         $(TOOL_OBJS:.o=.d) $(TEST_OBJS:.o=.d) $(BUILD)/$L/frei0r_linvideo.d

# tasks; demo and check start other makes, which read what configure wrote

RUN      = BUILD=$(BUILD) CC="$(CC)" CXX="$(CXX)" LINVIDEO=$(COMMAND) \
           LINVIDEO_MODEL_PATH=$(call quote,$(HERE)/tests/model)
PARALLEL = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

# of these, text stays as it is typed: make expands no $ in it
ifdef PROMPT
override export PROMPT := $(value PROMPT)
endif
ifdef OUT
override export OUT := $(value OUT)
endif

demo:
	@samples/demo.sh $(BUILD)

check:
	@samples/setup.sh $(BUILD) check
	@$(MAKE) --no-print-directory $(PARALLEL) all tests
	@$(MAKE) --no-print-directory $(PARALLEL) dropin
	@$(MAKE) --no-print-directory run-tests

docs:
	@tests/docs.sh write
	@tests/reach.sh write

bench: $(COMMAND)
	$(RUN) $< bench

dropin: lib
	patches/build-dropin.sh $(BUILD)

ffmpeg: lib
	patches/build-ffmpeg.sh $(BUILD) $(FFMPEG_VERSION)

deb:
	patches/packages/deb.sh $(BUILD)

bundle: $(COMMAND)
	patches/packages/bundle.sh $(BUILD)

# installing; a drop-in that was built goes along

BIN  = $(call quote,$(DESTDIR)$(BINDIR))
LIB  = $(call quote,$(DESTDIR)$(LIBDIR))
INC  = $(call quote,$(DESTDIR)$(INCLUDEDIR)/linvideo)
DATA = $(call quote,$(DESTDIR)$(DATADIR)/linvideo)
MAN  = $(call quote,$(DESTDIR)$(MANDIR)/man1)
BASH = $(call quote,$(DESTDIR)$(DATADIR)/bash-completion/completions)
ZSH  = $(call quote,$(DESTDIR)$(DATADIR)/zsh/site-functions)
F0R  = $(call quote,$(DESTDIR)$(FREI0RDIR))

INSTALL-yes               = install-programs
INSTALL-$(CONFIG_SHARED) += install-shared
INSTALL-$(CONFIG_STATIC) += install-static
INSTALL-$(CONFIG_FREI0R) += install-frei0r
INSTALL-$(if $(wildcard $(BUILD)/dropin/libavfilter.so.*),yes) += install-dropin

install: $(INSTALL-yes)

install-programs: all
	install -d $(BIN) $(LIB)/pkgconfig $(INC) $(DATA) $(MAN) $(BASH) $(ZSH)
	install $(COMMAND) $(BIN)
	install -m 644 $L/linvideo/linvideo.h $L/linvideo/option_table.h $(INC)
	install -m 644 $(BUILD)/liblinvideo.pc $(LIB)/pkgconfig
	install -m 644 $(MODELS) $(DATA)
	install -m 644 samples/linvideo.1 $(MAN)
	install -m 644 samples/completion/linvideo.bash $(BASH)/linvideo
	install -m 644 samples/completion/linvideo.zsh $(ZSH)/_linvideo

install-shared: install-programs
	install $(BUILD)/$(SONAME) $(LIB)
	ln -sf $(SONAME) $(LIB)/liblinvideo.so
	@$(tell_loader)

# a new library has to be made known to the loader
tell_loader = PATH=$$PATH:/sbin:/usr/sbin; \
    if [ -n $(call quote,$(DESTDIR)) ]; then \
        echo 'ldconfig is for where DESTDIR is unpacked: not run'; \
    elif ! ldconfig -vNX 2>/dev/null | grep -qF $(call quote,$(LIBDIR)): ; then \
        printf '%s: no folder of the loader, programs need it in LD_LIBRARY_PATH\n' \
            $(call quote,$(LIBDIR)); \
    elif [ "$$(id -u)" = 0 ]; then \
        ldconfig; \
    else \
        echo 'not root: run ldconfig as root, so that programs find $(SONAME)'; \
    fi

install-static: install-programs
	install -m 644 $(STATIC_LIB) $(LIB)

install-frei0r: install-programs
	install -d $(F0R)
	install $(FREI0R) $(F0R)

install-dropin: install-programs
	install -d $(LIB)/linvideo
	install $(BUILD)/dropin/libavfilter.so.* $(LIB)/linvideo
	patches/write-wrapper.sh $(BIN)/ffmpeg-linvideo $(call quote,$(LIBDIR)/linvideo) \
	    $(call quote,$(LIBDIR)) "$$(cat $(BUILD)/dropin/ffmpeg)" \
	    $(call quote,$(DATADIR)/linvideo)

uninstall:
	rm -f $(BIN)/linvideo $(BIN)/ffmpeg-linvideo $(MAN)/linvideo.1
	rm -f $(LIB)/pkgconfig/liblinvideo.pc $(LIB)/liblinvideo.*
	rm -rf $(LIB)/linvideo $(INC) $(DATA)
	rm -f $(F0R)/linvideo.so $(BASH)/linvideo $(ZSH)/_linvideo

# the sources as they are published

DIST = linvideo-$(or $(VERSION),$(shell ./configure --version))

dist:
	git archive --format=tar.gz --prefix=$(DIST)/ -o $(DIST).tar.gz HEAD

# clean keeps what was configured and the FFmpeg trees, which take minutes
clean:
	rm -rf $(BUILD)/$L $(BUILD)/kernels $(BUILD)/tests
	rm -rf $(addprefix $(BUILD)/,sanitized tsan coverage matrix)
	rm -f $(BUILD)/liblinvideo* $(TRAIN_LIB) $(COMMAND) $(FREI0R)

distclean:
	rm -rf $(BUILD) demo.mp4

.DELETE_ON_ERROR:
.SECONDARY: $(KERNELS:%=$(BUILD)/kernels/%.fatbin)
.PHONY: all lib tools demo check docs bench dropin ffmpeg deb bundle install $(INSTALL-yes) \
        uninstall dist clean distclean
