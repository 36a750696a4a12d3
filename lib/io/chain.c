/* SPDX-License-Identifier: MIT */
/*
 * chain.c - opening an image and its backing files
 *
 * From the top down in a loop, bounded by max_depth.  A file that is in the
 * chain already, known by device and inode, ends it with -ELOOP.  What is beyond
 * chain_limit is left out, as if the policy were to ignore it.
 */
#include <errno.h>
#include <inttypes.h>

#include "chain.h"

static int add_layer(struct qcowfmt_image *image, struct qcf_layer *layer,
                     struct qcowfmt_error **errp)
{
	uint32_t count = image->layer_count;
	struct qcf_layer **layers = image->layers;

	/* Grow at powers of two. */
	if ((count & (count - 1)) == 0) {
		size_t room = count == 0 ? 1 : (size_t)count * 2;

		layers = realloc(layers, room * sizeof(struct qcf_layer *));
		if (layers == NULL)
			return qcf_fail_oom(errp);
		image->layers = layers;
	}
	layers[image->layer_count++] = layer;
	return 0;
}

static int check_loop(const struct qcowfmt_image *image,
                      const struct qcowfmt_storage *storage,
                      struct qcowfmt_error **errp)
{
	for (uint32_t i = 0; i < image->layer_count; i++) {
		const struct qcf_layer *layer = image->layers[i];

		if (qcf_storage_is_same(layer->storage, storage) ||
		    (layer->data_file != NULL &&
		     qcf_storage_is_same(layer->data_file, storage)))
			return qcf_fail(errp, ELOOP, QCOWFMT_ERR_CORRUPT,
			                "%s: the backing chain leads back to "
			                "this file",
			                storage->name);
	}
	return 0;
}

/*
 * Give a layer that keeps its guest data in a file of its own that file: the one
 * the caller chose, or what the image names.
 */
static int open_data_file(struct qcowfmt_image *image, struct qcf_layer *layer,
                          const struct qcf_layer_options *options,
                          const struct qcf_reference_rules *rules,
                          struct qcowfmt_error **errp)
{
	struct qcowfmt_storage *data = options->data_storage;
	int ret = 0;

	if (layer->meta == NULL || !layer->meta->geometry.data_file) {
		if (data == NULL)
			return 0;
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%s: a data file was given, but the image "
		                "keeps its data itself",
		                layer->storage->name);
	}
	if (data == NULL && !options->no_data)
		ret = qcf_reference_open_data_file(
			rules, layer, layer->writable, &data, errp);
	if (ret < 0)
		return ret;
	/* A repair needs no guest data. */
	if (data == NULL && options->repair)
		image->no_data = true;
	if (data == NULL && layer->writable && !image->no_data)
		return qcf_fail(errp, EACCES, QCOWFMT_ERR_REFUSED,
		                "%s: writing needs the data file, which the "
		                "reference policy says to ignore",
		                layer->storage->name);
	ret = data == NULL ? 0 : check_loop(image, data, errp);
	if (ret < 0) {
		if (data != options->data_storage)
			qcowfmt_storage_free(data);
		return ret;
	}
	return qcf_layer_set_data_file(layer, data, options->no_lock, errp);
}

/* Open one more image into the chain; the storage is the layer's or closed. */
static int open_backing_layer(struct qcowfmt_image *image,
                              const struct qcf_layer_options *options,
                              const struct qcf_reference_rules *rules,
                              struct qcowfmt_storage *storage, char **beneath,
                              struct qcowfmt_error **errp)
{
	struct qcf_layer *layer = NULL;
	int ret = check_loop(image, storage, errp);

	if (ret == 0)
		ret = qcf_layer_open(storage, options, &layer, errp);
	if (ret < 0) {
		qcowfmt_storage_free(storage);
		return ret;
	}
	layer->beneath = qcf_take(beneath);
	ret = qcf_reference_path(layer, &layer->backing_path, errp);
	if (ret == 0)
		ret = add_layer(image, layer, errp);
	if (ret < 0) {
		(void)qcf_layer_close(layer, NULL);
		return ret;
	}
	return open_data_file(image, layer, options, rules, errp);
}

static int follow(struct qcowfmt_image *image,
                  const struct qcf_layer_options *first,
                  const struct qcf_reference_rules *rules,
                  struct qcowfmt_error **errp)
{
	const struct qcf_layer *above = image->layers[image->layer_count - 1];
	struct qcf_secret_source secrets = *first->secrets;
	struct qcf_layer_options options = {
		.no_lock = first->no_lock,
		.no_data = first->no_data,
		.secrets = &secrets,
		.lazy_refcounts = -1,
		.depth = image->layer_count,
		.max_table_size = first->max_table_size,
		.budget = first->budget,
		.gate = first->gate,
	};
	QCF_AUTO_FREE char *beneath = NULL;
	struct qcowfmt_storage *storage = NULL;
	int ret;

	/* The secret itself is of the first image only. */
	secrets.secret = NULL;
	if (image->layer_count >= rules->max_depth)
		return qcf_fail(errp, E2BIG, QCOWFMT_ERR_LIMIT,
		                "%s: the backing chain is longer than "
		                "max_chain_depth, which is %" PRIu32,
		                above->storage->name, rules->max_depth);
	ret = qcf_reference_open(rules, above, &storage, &options.format,
	                         &beneath, errp);
	if (ret < 0) {
		qcowfmt_storage_free(storage);
		return ret;
	}
	return open_backing_layer(image, &options, rules, storage, &beneath,
	                          errp);
}

static bool names_backing(const struct qcowfmt_image *image)
{
	return image->layers[image->layer_count - 1]->backing_path != NULL;
}

/* Whether the rules want what is below the last layer. */
static bool goes_on(const struct qcowfmt_image *image,
                    const struct qcf_reference_rules *rules)
{
	return rules->policy != QCOWFMT_REFERENCES_IGNORE &&
	       image->layer_count < rules->chain_limit;
}

int qcf_chain_open(struct qcowfmt_image *image, struct qcowfmt_storage *storage,
                   const struct qcf_layer_options *options,
                   const struct qcf_reference_rules *rules,
                   struct qcowfmt_error **errp)
{
	struct qcf_layer *top = NULL;
	int ret = qcf_layer_open(storage, options, &top, errp);

	if (ret < 0)
		return ret;
	ret = qcf_reference_path(top, &top->backing_path, errp);
	if (ret == 0)
		ret = add_layer(image, top, errp);
	if (ret < 0) {
		qcf_layer_abandon(top);
		return ret;
	}
	ret = open_data_file(image, top, options, rules, errp);
	while (ret == 0 && names_backing(image) && goes_on(image, rules))
		ret = follow(image, options, rules, errp);
	image->incomplete = names_backing(image);
	return ret < 0 ? ret
	               : qcf_chain_skip_init(&image->skip, image->layers,
	                                     image->layer_count, &image->budget,
	                                     errp);
}
