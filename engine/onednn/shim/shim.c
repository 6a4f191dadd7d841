/*
 * Convolutions in three directions, on the calling thread alone, and the reorders of their weights:
 * oneDNN's, or Winograd's where that is faster. Linear layers are convolutions whose kernel covers the
 * image.
 */
#include "compat.h"
#include "shim.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static dnnl_engine_t cpu;
static __thread dnnl_stream_t stream; /* one for each thread that ever computed */

typedef struct {
    enum direction direction;
    dnnl_primitive_desc_t pd;
    dnnl_primitive_t primitive, pack; /* pack: plain f32 weights to this convolution's layout */
    layout src, weights, bias, dst, plain;
    int64_t weights_bytes, scratch_bytes, blocked;
    int64_t winograd[8]; /* if it is one of those: the numbers of its kernels, rows > 0 first, and bf16 last */
    char error[160];
} convolution;

/* The geometry of a convolution, in the order of Go's struct. */
typedef struct {
    int64_t direction, bf16, rows, in, height, width, out, out_height, out_width, kernel_height, kernel_width,
            stride, pad, plain_input, bias, relu;
} geometry;

static const kernels *best(void) {
#ifdef METRIX_X86
    const int isa = dnnl_get_effective_cpu_isa();
    if ((isa & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core) return &kernels_avx512;
    if ((isa & dnnl_cpu_isa_avx2) == dnnl_cpu_isa_avx2) return &kernels_avx2;
#endif
    return &kernels_plain;
}

/* mx_start makes the engine; 0 is success, 2 a oneDNN whose threads cannot be held to the calling one.
 * Call it once. */
int64_t mx_start(void) {
    const unsigned runtime = dnnl_version()->cpu_runtime;
    if (runtime != DNNL_RUNTIME_OMP && runtime != DNNL_RUNTIME_SEQ) return 2;
    omp_set_num_threads(1);
    return dnnl_engine_create(&cpu, dnnl_cpu, 0) != dnnl_success;
}

int64_t mx_abi(void) { return METRIX_ABI; }

int64_t mx_block(void) { return best()->block; }

/* mx_bf16 says whether convolutions in bfloat16 run in hardware (2), emulated (1) or badly (0). */
int64_t mx_bf16(void) {
    const int isa = dnnl_get_effective_cpu_isa();
    if (best()->block != 16) return 0;
    return (isa & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16 ? 2 : 1;
}

int64_t mx_version(void) {
    const dnnl_version_t *v = dnnl_version();
    return v->major * 10000 + v->minor * 100 + v->patch;
}

void *mx_kernel(const char *name, int64_t bf16) {
    for (const entry *e = best()->entries; e->name; e++)
        if (!strcmp(e->name, name)) return bf16 ? (void *)e->bf16 : (void *)e->f32;
    return NULL;
}

/* mx_alloc returns zeroed memory in huge pages where the system has them. */
void *mx_alloc(int64_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(p, bytes, MADV_HUGEPAGE);
#endif
    return p;
}

void mx_free(void *p, int64_t bytes) { munmap(p, bytes); }

static dnnl_status_t attributes(dnnl_primitive_attr_t *attr, int relu) {
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attr);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !relu) return status;
    status = dnnl_post_ops_create(&ops);
    if (status == dnnl_success) status = append_relu(ops);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attr, ops);
    if (ops) dnnl_post_ops_destroy(ops);
    return status;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t scratch_of(const_dnnl_primitive_desc_t pd) {
    return dnnl_memory_desc_get_size((layout)dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
}

static layout queried(const_dnnl_primitive_desc_t pd, dnnl_query_t what) {
    return (layout)dnnl_primitive_desc_query_md(pd, what, 0);
}

/* describe makes the descriptor; weights may be NULL for the library's choice. */
static dnnl_status_t describe(convolution *c, const geometry *g, layout weights) {
    const dnnl_dims_t src = {g->rows, g->in, g->height, g->width}, dst = {g->rows, g->out, g->out_height, g->out_width};
    const dnnl_dims_t w = {g->out, g->in, g->kernel_height, g->kernel_width}, b = {g->out};
    const dnnl_dims_t stride = {g->stride, g->stride}, pad = {g->pad, g->pad};
    const dnnl_dims_t end = {
            (g->out_height - 1) * g->stride + g->kernel_height - g->height - g->pad,
            (g->out_width - 1) * g->stride + g->kernel_width - g->width - g->pad};
    const dnnl_data_type_t type = g->bf16 ? dnnl_bf16 : dnnl_f32;
    const dnnl_data_type_t weights_type = g->direction == BACKWARD_WEIGHTS ? dnnl_f32 : type;
    const dnnl_format_tag_t blocked = best()->block == 16 ? dnnl_nChw16c : dnnl_nChw8c;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t status = attributes(&attr, g->relu);
    c->src = layout_new(4, src, type, g->plain_input ? dnnl_nchw : blocked);
    c->dst = layout_new(4, dst, type, blocked);
    c->plain = layout_new(4, w, dnnl_f32, dnnl_oihw);
    if (g->bias) c->bias = layout_new(1, b, dnnl_f32, dnnl_x);
    layout any = weights ? NULL : layout_new(4, w, weights_type, dnnl_format_tag_any);
    if (status == dnnl_success)
        status = convolution_desc(&c->pd, g->direction, cpu, attr, c->src, weights ? weights : any, c->bias, c->dst,
                stride, pad, end);
    layout_free(any);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return status;
}

/* describe_weights asks for weight gradients in the layout that unpack knows; c->blocked says
 * whether that worked. */
static dnnl_status_t describe_weights(convolution *c, const geometry *g) {
    const dnnl_dims_t w = {g->out, g->in, g->kernel_height, g->kernel_width};
    const int wide = best()->block == 16;
    layout known = layout_new(4, w, dnnl_f32,
            g->plain_input ? (wide ? dnnl_Ohwi16o : dnnl_Ohwi8o) : (wide ? dnnl_OIhw16i16o : dnnl_OIhw8i8o));
    dnnl_status_t status = describe(c, g, known);
    c->blocked = status == dnnl_success;
    layout_free(known);
    return c->blocked ? status : describe(c, g, NULL);
}

/* suits_winograd says whether a convolution is faster by Winograd's way: not if most of a tile would lie
 * outside of the picture, nor, where kernels are read, if there are so many channels or so few tiles
 * that reading 36 values of a kernel instead of 9 costs more than is saved, in time or memory: in
 * bfloat16, where the direct way is twice as fast, less is saved. It must not depend on the number of
 * rows. */
static int suits_winograd(const geometry *g) {
    const int64_t tiles = (g->out_height + 3) / 4 * ((g->out_width + 3) / 4), size = g->in * g->out;
    if (best() == &kernels_plain || g->plain_input || g->stride != 1 || g->pad > 2) return 0;
    if (g->kernel_height != 3 || g->kernel_width != 3) return 0;
    if (g->out_height != g->height + 2 * g->pad - 2 || g->out_width != g->width + 2 * g->pad - 2) return 0;
    if (g->out_height * g->out_width < 8 * tiles) return 0;
    return g->direction == BACKWARD_WEIGHTS || size <= (tiles >= 4 && !g->bf16 ? 256 * 256 : 128 * 128);
}

/* by_winograd sets c up without oneDNN. */
static void by_winograd(convolution *c, const geometry *g) {
    const int64_t block = best()->block, in = (g->in + block - 1) / block * block, out = (g->out + block - 1) / block * block;
    const int back = g->direction == BACKWARD_DATA, weights = g->direction == BACKWARD_WEIGHTS;
    const int64_t n[8] = {g->rows, back ? g->out : g->in, back ? g->out_height : g->height, back ? g->out_width : g->width,
            back ? g->in : g->out, back ? 2 - g->pad : g->pad, g->relu, g->bf16};
    memcpy(c->winograd, n, sizeof n);
    c->weights_bytes = in * out * (weights ? 9 : 36) * 4;
    c->scratch_bytes = best()->winograd_scratch(n, weights);
    c->blocked = weights;
}

/* mx_conv makes a convolution. If like is given, weights have its layout. The result has an error
 * (see mx_conv_error) if it is of no use. */
void *mx_conv(const geometry *g, const convolution *like) {
    omp_set_num_threads(1);
    convolution *c = calloc(1, sizeof *c);
    dnnl_primitive_desc_t pack = NULL;
    dnnl_primitive_attr_t attr = NULL;
    if (!c) return NULL;
    c->direction = g->direction;
    if (suits_winograd(g)) {
        by_winograd(c, g);
        return c;
    }
    dnnl_status_t status = g->direction == BACKWARD_WEIGHTS && !like ? describe_weights(c, g)
                                                                     : describe(c, g, like ? like->weights : NULL);
    if (like) c->blocked = like->blocked;
    if (status == dnnl_success) status = dnnl_primitive_create(&c->primitive, c->pd);
    if (status == dnnl_success) {
        c->weights = queried(c->pd, g->direction == BACKWARD_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md);
        c->weights_bytes = dnnl_memory_desc_get_size(c->weights);
        c->scratch_bytes = scratch_of(c->pd);
        status = attributes(&attr, 0);
    }
    if (status == dnnl_success)
        status = g->direction == BACKWARD_WEIGHTS
                ? dnnl_reorder_primitive_desc_create(&pack, c->weights, cpu, c->plain, cpu, attr)
                : dnnl_reorder_primitive_desc_create(&pack, c->plain, cpu, c->weights, cpu, attr);
    if (status == dnnl_success) c->scratch_bytes = larger(c->scratch_bytes, scratch_of(pack));
    if (status == dnnl_success) status = dnnl_primitive_create(&c->pack, pack);
    if (pack) dnnl_primitive_desc_destroy(pack);
    if (attr) dnnl_primitive_attr_destroy(attr);
    if (status != dnnl_success) snprintf(c->error, sizeof c->error, "oneDNN refuses it with status %d", (int)status);
    return c;
}

const char *mx_conv_error(const convolution *c) { return c ? c->error : "out of memory"; }
int64_t mx_conv_weights(const convolution *c) { return c->weights_bytes; }
int64_t mx_conv_scratch(const convolution *c) { return c->scratch_bytes; }
int64_t mx_conv_blocked(const convolution *c) { return c->blocked; }

void mx_conv_free(convolution *c) {
    if (!c) return;
    if (c->primitive) dnnl_primitive_destroy(c->primitive);
    if (c->pack) dnnl_primitive_destroy(c->pack);
    if (c->pd) dnnl_primitive_desc_destroy(c->pd);
    layout_free(c->src);
    layout_free(c->dst);
    layout_free(c->bias);
    layout_free(c->plain);
    free(c);
}

static int64_t execute(dnnl_primitive_t primitive, const int *ids, const layout *layouts, void *const *data, int count,
        void *scratch, const convolution *c) {
    dnnl_exec_arg_t args[6];
    int made = 0;
    dnnl_status_t status = dnnl_success;
    omp_set_num_threads(1);
    if (!stream) status = dnnl_stream_create(&stream, cpu, dnnl_stream_default_flags);
    for (int i = 0; i < count && status == dnnl_success; i++) {
        if (!layouts[i] || !data[i]) continue;
        args[made].arg = ids[i];
        status = dnnl_memory_create(&args[made].memory, layouts[i], cpu, data[i]);
        made += status == dnnl_success;
    }
    layout pad = queried(c->pd, dnnl_query_scratchpad_md);
    if (status == dnnl_success && primitive == c->primitive && dnnl_memory_desc_get_size(pad) > 0) {
        args[made].arg = DNNL_ARG_SCRATCHPAD;
        status = dnnl_memory_create(&args[made].memory, pad, cpu, scratch);
        made += status == dnnl_success;
    }
    if (status == dnnl_success) status = dnnl_primitive_execute(primitive, stream, made, args);
    while (made > 0) dnnl_memory_destroy(args[--made].memory);
    return status;
}

static void run_winograd(const convolution *c, void *const *p) {
    void *const there[] = {p[1], p[2], p[3], p[4], p[5]}, *const back[] = {p[4], p[2], NULL, p[1], p[5]};
    const int64_t bf16 = c->winograd[7];
    if (c->direction == BACKWARD_WEIGHTS) best()->winograd_weights[bf16](there, c->winograd);
    else best()->winograd[bf16](c->direction == FORWARD ? there : back, c->winograd);
}

/* mx_conv_run: p = convolution, src, weights, bias or 0, dst, scratch. Backward passes write src or
 * weights and bias. The result is 0 or oneDNN's status. */
int64_t mx_conv_run(void *const *p, const int64_t *n) {
    const convolution *c = p[0];
    if (c->winograd[0]) {
        run_winograd(c, p);
        return 0;
    }
    const layout layouts[] = {c->src, c->weights, c->bias, c->dst};
    static const int ids[][4] = {
            {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST},
            {DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DIFF_DST},
            {DNNL_ARG_SRC, DNNL_ARG_DIFF_WEIGHTS, DNNL_ARG_DIFF_BIAS, DNNL_ARG_DIFF_DST}};
    (void)n;
    return execute(c->primitive, ids[c->direction], layouts, p + 1, 4, p[5], c);
}

/* mx_conv_pack: plain f32 weights p[1] to the convolution's layout p[2]; for weight gradients the
 * way back. p[0] = convolution. */
int64_t mx_conv_pack(void *const *p, const int64_t *n) {
    const convolution *c = p[0];
    if (c->winograd[0]) {
        const int64_t back = c->direction == BACKWARD_DATA, *w = c->winograd;
        best()->winograd_pack(p + 1, (const int64_t[]){back ? w[1] : w[4], back ? w[4] : w[1], back});
        return 0;
    }
    static const int ids[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    const layout there[] = {c->plain, c->weights}, back[] = {c->weights, c->plain};
    (void)n;
    return execute(c->pack, ids, c->direction == BACKWARD_WEIGHTS ? back : there, p + 1, 2, NULL, c);
}
