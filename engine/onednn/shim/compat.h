/* One source for oneDNN 2.6 to 3.x: what differs between them is hidden behind the names here. */
#ifndef METRIX_COMPAT_H
#define METRIX_COMPAT_H

#include <dnnl.h>
#include <stdlib.h>

#if DNNL_VERSION_MAJOR >= 3

typedef const_dnnl_memory_desc_t layout; /* a memory descriptor that nobody changes */

static layout layout_new(int ndims, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t md = NULL;
    return dnnl_memory_desc_create_with_tag(&md, ndims, dims, type, tag) == dnnl_success ? md : NULL;
}

static void layout_free(layout l) {
    if (l) dnnl_memory_desc_destroy((dnnl_memory_desc_t)l);
}

static dnnl_status_t append_relu(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
}

#else

typedef const dnnl_memory_desc_t *layout;

static layout layout_new(int ndims, const dnnl_dims_t dims, dnnl_data_type_t type, dnnl_format_tag_t tag) {
    dnnl_memory_desc_t *md = malloc(sizeof *md);
    if (md && dnnl_memory_desc_init_by_tag(md, ndims, dims, type, tag) == dnnl_success) return md;
    free(md);
    return NULL;
}

static void layout_free(layout l) { free((void *)l); }

static dnnl_status_t append_relu(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, 0, 0);
}

#endif

enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS };

/* The descriptor of a convolution in one direction. Bias may be NULL. */
static dnnl_status_t convolution_desc(dnnl_primitive_desc_t *pd, enum direction direction, dnnl_engine_t engine,
        dnnl_primitive_attr_t attr, layout src, layout weights, layout bias, layout dst,
        const dnnl_dims_t stride, const dnnl_dims_t pad, const dnnl_dims_t pad_end) {
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
    const dnnl_dims_t dilation = {0, 0};
    switch (direction) {
    case FORWARD:
        return dnnl_convolution_forward_primitive_desc_create(pd, engine, dnnl_forward_training, direct,
                src, weights, bias, dst, stride, dilation, pad, pad_end, attr);
    case BACKWARD_DATA:
        return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, direct,
                src, weights, dst, stride, dilation, pad, pad_end, NULL, attr);
    default:
        return dnnl_convolution_backward_weights_primitive_desc_create(pd, engine, direct,
                src, weights, bias, dst, stride, dilation, pad, pad_end, NULL, attr);
    }
#else
    dnnl_convolution_desc_t desc;
    dnnl_status_t status;
    switch (direction) {
    case FORWARD:
        status = dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, direct,
                src, weights, bias, dst, stride, pad, pad_end);
        break;
    case BACKWARD_DATA:
        status = dnnl_convolution_backward_data_desc_init(&desc, direct, src, weights, dst, stride, pad, pad_end);
        break;
    default:
        status = dnnl_convolution_backward_weights_desc_init(&desc, direct,
                src, weights, bias, dst, stride, pad, pad_end);
    }
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &desc, attr, engine, NULL);
#endif
}

#endif
