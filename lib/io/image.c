/* SPDX-License-Identifier: MIT */
/* image.c - the handle that applications hold */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

#include "alloc.h"
#include "checked.h"
#include "image.h"
#include "queue.h"
#include "writeback.h"

static atomic_uint_fast64_t images_made;

int qcf_image_new(struct qcowfmt_image **image, struct qcowfmt_error **errp)
{
	struct qcowfmt_image *new_image = aligned_alloc(
		_Alignof(struct qcowfmt_image), sizeof(struct qcowfmt_image));

	if (new_image == NULL)
		return qcf_fail_oom(errp);
	*new_image = (struct qcowfmt_image){
		.serial = atomic_fetch_add(&images_made, 1),
	};
	qcf_mutex_init(&new_image->queues_lock, QCF_RANK_QUEUES);
	qcf_gate_init(&new_image->gate);
	qcf_inflight_init(&new_image->inflight);
	qcf_decoded_cache_init(&new_image->decoded);
	qcf_compressor_init(&new_image->compressor, 0);
	*image = new_image;
	return 0;
}

int qcf_image_layer(const struct qcowfmt_image *image, uint32_t depth,
                    struct qcf_layer **layer, struct qcowfmt_error **errp)
{
	if (depth >= image->layer_count)
		return qcf_fail(errp, ENOENT, QCOWFMT_ERR_USAGE,
		                "the chain has %" PRIu32
		                " images, there is none at depth %" PRIu32,
		                image->layer_count, depth);
	*layer = image->layers[depth];
	return 0;
}

static void free_image(struct qcowfmt_image *image)
{
	free(image->layers);
	qcf_compressor_fini(&image->compressor);
	qcf_decoded_cache_fini(&image->decoded);
	qcf_chain_skip_fini(&image->skip);
	qcf_inflight_fini(&image->inflight);
	qcf_gate_fini(&image->gate);
	qcf_mutex_fini(&image->queues_lock);
	free(image);
}

int qcf_image_close(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	int result = 0;

	while (image->queues != NULL)
		qcf_queue_free(image->queues);
	for (uint32_t i = 0; i < image->layer_count; i++) {
		int ret = qcf_layer_close(image->layers[i], errp);

		if (result == 0)
			result = ret;
	}
	free_image(image);
	return result;
}

void qcf_image_abandon(struct qcowfmt_image *image)
{
	for (uint32_t i = 1; i < image->layer_count; i++)
		(void)qcf_layer_close(image->layers[i], NULL);
	if (image->layer_count > 0)
		qcf_layer_abandon(image->layers[0]);
	free_image(image);
}

void qcf_request_begin_read(struct qcf_request *request,
                            struct qcowfmt_image *image)
{
	request->image = image;
	request->slot = qcf_gate_enter(&image->gate);
}

static int check_writable(const struct qcowfmt_image *image,
                          struct qcowfmt_error **errp)
{
	const struct qcf_layer *top = qcf_image_top(image);

	if (image->no_data)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%s was opened without access to guest data",
		                top->storage->name);
	if (!top->writable)
		return qcf_fail(errp, EROFS, QCOWFMT_ERR_READ_ONLY,
		                "%s is opened read-only", top->storage->name);
	return 0;
}

/* Looked at inside: what the gate was closed for may have failed. */
static int check_usable(struct qcowfmt_image *image,
                        struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	int ret = qcf_poison_check(qcf_layer_poison(top), errp);

	if (ret == 0 && top->meta != NULL)
		ret = qcf_meta_check_usable(top->meta, errp);
	return ret;
}

bool qcf_image_takes_writes(struct qcowfmt_image *image)
{
	return check_writable(image, NULL) == 0 &&
	       check_usable(image, NULL) == 0;
}

int qcf_request_begin_write(struct qcf_request *request,
                            struct qcowfmt_image *image,
                            struct qcowfmt_error **errp)
{
	int ret = check_writable(image, errp);

	*request = (struct qcf_request){ .image = image };
	if (ret < 0)
		return ret;
	qcf_request_begin_read(request, image);
	ret = check_usable(image, errp);
	if (ret == 0)
		return 0;
	qcf_request_end(request);
	return qcf_wrap(errp, qcf_image_top(image)->storage->name, ret);
}

void qcf_request_begin_both(struct qcf_request *first,
                            struct qcowfmt_image *first_image,
                            struct qcf_request *second,
                            struct qcowfmt_image *second_image)
{
	*first = (struct qcf_request){ .image = first_image };
	*second = (struct qcf_request){ .image = second_image };
	if (qcf_image_comes_first(first_image, second_image))
		qcf_request_begin_read(first, first_image);
	if (first_image != second_image)
		qcf_request_begin_read(second, second_image);
	if (first->slot == NULL)
		qcf_request_begin_read(first, first_image);
}

void qcf_request_end(struct qcf_request *request)
{
	if (request->slot != NULL)
		qcf_gate_leave(&request->image->gate, request->slot);
}

void qcf_request_renew(struct qcf_request *request)
{
	if (request->slot != NULL)
		qcf_gate_renew(&request->image->gate, request->slot);
}

int qcf_request_breathe(struct qcf_request *request,
                        struct qcowfmt_error **errp)
{
	struct qcf_meta *meta = qcf_image_top(request->image)->meta;
	int ret = 0;

	qcf_request_renew(request);
	if (qcf_writeback_is_due(meta)) {
		ret = qcf_writeback_commit(meta, errp);
		qcf_request_renew(request);
	}
	if (ret == 0)
		ret = qcf_alloc_reclaim(meta, errp);
	return ret;
}

int qcf_image_check_range(const struct qcowfmt_image *image,
                          uint64_t guest_offset, uint64_t len,
                          struct qcowfmt_error **errp)
{
	uint64_t virtual_size = qcf_image_top(image)->virtual_size;

	if (qcf_range_within(guest_offset, len, virtual_size))
		return 0;
	qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	         "range of %" PRIu64 " bytes at offset %" PRIu64
	         " is beyond the virtual size %" PRIu64,
	         len, guest_offset, virtual_size);
	qcf_error_at_guest(errp, guest_offset);
	return -EINVAL;
}

int qcf_image_flush(struct qcowfmt_image *image, struct qcowfmt_error **errp)
{
	struct qcf_layer *top = qcf_image_top(image);
	struct qcf_request request;
	int ret;

	if (!top->writable)
		return 0;
	ret = qcf_request_begin_write(&request, image, errp);
	if (ret < 0)
		return ret;
	if (top->meta == NULL) {
		ret = qcf_flush_or_poison(top->storage, &top->raw_poison, errp);
	} else {
		ret = qcf_writeback_commit(top->meta, errp);
		qcf_gate_renew(&image->gate, request.slot);
		if (ret == 0)
			ret = qcf_alloc_reclaim(top->meta, errp);
	}
	qcf_request_end(&request);
	return qcf_wrap(errp, top->storage->name, ret);
}
