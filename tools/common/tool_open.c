/* SPDX-License-Identifier: MIT */
/* tool_open.c - opening images the way QEMU's programs do */
#include "tool_open.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tool_error.h"
#include "tool_text.h"

static const struct {
	const char *name;
	struct qcf_cache_mode mode;
} cache_modes[] = {
	{ "none", { .direct = true } },
	{ "off", { .direct = true } },
	{ "directsync", { .direct = true, .write_through = true } },
	{ "writeback", { 0 } },
	{ "unsafe", { .no_flush = true } },
	{ "writethrough", { .write_through = true } },
};

bool qcf_parse_cache_mode(const char *name, struct qcf_cache_mode *mode)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(cache_modes); i++) {
		if (strcmp(cache_modes[i].name, name) == 0) {
			*mode = cache_modes[i].mode;
			return true;
		}
	}
	return false;
}

static bool is_untrusted;

/* More was measured to make nothing faster. */
#define IN_ORDER_CACHE (4 * MIB)

/* Ceilings for images from strangers: enough for a 2 TiB disk. */
#define UNTRUSTED_METADATA       (4 * MIB)
#define UNTRUSTED_CACHE          (4 * MIB)
#define UNTRUSTED_KEY_ITERATIONS (UINT32_C(1) << 23)

void qcf_tool_set_untrusted(void)
{
	is_untrusted = true;
}

bool qcf_tool_is_untrusted(void)
{
	return is_untrusted;
}

/* --------------------------------------------------------------- the header */

char *qcf_check_encryption(const struct qcowfmt_info *info,
                           const struct qcf_image_opts *opts)
{
	static const char *const names[] = {
		[QCOWFMT_ENCRYPTION_NONE] = NULL,
		[QCOWFMT_ENCRYPTION_AES] = "aes",
		[QCOWFMT_ENCRYPTION_LUKS] = "luks",
	};
	const char *wanted = opts != NULL ? opts->encrypt_format : NULL;
	const char *found = names[info->encryption];

	if (wanted == NULL || info->format == QCOWFMT_FORMAT_RAW)
		return NULL;
	if (found == NULL)
		return qcf_tool_printf("No encryption in image header, but "
		                       "options specified format '%s'",
		                       wanted);
	if (strcmp(found, wanted) != 0)
		return qcf_tool_printf("Header reported '%s' encryption format "
		                       "but options specify '%s'",
		                       found, wanted);
	return NULL;
}

static char *check_format(const struct qcowfmt_info *info,
                          const struct qcf_image_node *node)
{
	uint64_t entry = node->l2_entry_size;

	if (node->only_some != NULL && (node->some & (1u << info->format)) == 0)
		return qcf_tool_printf("Block format '%s' does not support the "
		                       "option '%s'",
		                       qcowfmt_format_name(info->format),
		                       node->only_some);
	if (node->data_path != NULL &&
	    (info->flags & QCOWFMT_INFO_DATA_FILE) == 0)
		return qcf_tool_printf("'data-file' can only be set for images "
		                       "with an external data file");
	if (entry != 0 && ((entry & (entry - 1)) != 0 || entry < 512 ||
	                   entry > info->cluster_size))
		return qcf_tool_printf("L2 cache entry size must be a power of "
		                       "two between 512 and the cluster size "
		                       "(%" PRIu64 ")",
		                       info->cluster_size);
	return NULL;
}

/*
 * The header is looked at before the image is opened in earnest, for which a
 * secret may be missing.  If it cannot be read, that will be said then.
 */
static char *check_header(const struct qcf_tool_file *file, int32_t format,
                          const struct qcf_image_opts *opts)
{
	QCF_AUTO_IMAGE struct qcowfmt_image *image = NULL;
	struct qcowfmt_info info = { .struct_size = sizeof(info) };
	struct qcf_tool_file read_only = *file;
	struct qcowfmt_storage *storage;
	struct qcowfmt_open_options look = {
		.struct_size = sizeof(look),
		.format = format,
		.flags = QCOWFMT_OPEN_NO_DATA | QCOWFMT_OPEN_NO_LOCK,
		.reference_policy = QCOWFMT_REFERENCES_IGNORE,
	};
	char *reason = NULL;

	if (opts == NULL || opts->node_count == 0)
		return NULL;
	read_only.no_lock = true;
	read_only.writable = false;
	read_only.direct = false;
	if (qcf_tool_file_open(&read_only, &storage, &reason) < 0) {
		free(reason);
		return NULL;
	}
	if (qcowfmt_open(storage, &look, &image, NULL) < 0) {
		qcowfmt_storage_free(storage);
		return NULL;
	}
	if (qcowfmt_get_info(image, 0, &info, NULL) < 0)
		return NULL;
	reason = check_format(&info, &opts->nodes[0]);
	return reason != NULL ? reason : qcf_check_encryption(&info, opts);
}

/* --------------------------------------------------------------------- open */

static void warn_probed_raw(const char *path)
{
	fprintf(stderr,
	        "WARNING: Image format was not specified for '%s' and probing "
	        "guessed raw.\n"
	        "         Automatically detecting the format is dangerous for "
	        "raw images, write operations on block 0 will be restricted.\n"
	        "         Specify the 'raw' format explicitly to remove the "
	        "restrictions.\n",
	        path);
}

static bool is_raw(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	return qcowfmt_get_info(image, 0, &info, NULL) == 0 &&
	       info.format == QCOWFMT_FORMAT_RAW;
}

/* A request with what its options say put in place. */
struct plan {
	struct qcf_tool_open request;
	const struct qcf_image_node *node; /* NULL: nothing was said */
	struct qcf_tool_file file;
	struct qcowfmt_open_options options;
	struct qcf_chain chain;
};

static char *find_format(const struct plan *plan, int32_t *format)
{
	const char *name = plan->request.format;

	if (plan->node != NULL && plan->node->driver != NULL)
		name = plan->node->driver;
	*format = QCOWFMT_FORMAT_PROBE;
	if (name == NULL)
		return NULL;
	*format = strcmp(name, "file") == 0 ? QCOWFMT_FORMAT_RAW
	                                    : qcowfmt_format_from_name(name);
	if (*format >= 0)
		return NULL;
	return qcf_tool_printf("Unknown driver '%s'", name);
}

static void apply_choice(enum qcf_choice choice, bool *value)
{
	if (choice != QCF_CHOICE_NONE)
		*value = choice == QCF_CHOICE_ON;
}

static void apply_caches(const struct qcf_image_node *node,
                         struct qcowfmt_open_options *options)
{
	/* There is one cache for both kinds of tables. */
	options->cache_size =
		node->cache_size != 0
			? node->cache_size
			: node->l2_cache_size + node->refcount_cache_size;
}

/* Which clusters that become free are to give their space back. */
static void apply_passing(const struct qcf_image_node *node,
                          struct qcowfmt_open_options *options)
{
	bool never = node->file_discard == QCF_CHOICE_OFF;

	if (never || node->pass_discard == QCF_CHOICE_OFF)
		options->discard_mode = QCOWFMT_DISCARD_KEEP;
	if (never || node->pass_snapshot == QCF_CHOICE_OFF)
		options->flags |= QCOWFMT_OPEN_KEEP_SNAPSHOT_SPACE;
	if (!never && node->pass_other == QCF_CHOICE_ON)
		options->flags |= QCOWFMT_OPEN_DISCARD_OTHER;
}

/* Without a lock nobody may write. */
static char *unshared(void)
{
	return qcf_tool_printf("force-share=on can only be used with "
	                       "read-only images");
}

static char *apply_node(const struct qcf_image_node *node,
                        struct qcf_tool_open *request,
                        struct qcowfmt_open_options *options)
{
	bool writing = (request->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	bool obey = !request->ignore_discard;

	if (node->read_only && writing)
		return qcf_tool_printf("Block node is read-only");
	if (node->force_share && writing)
		return unshared();
	if (node->force_share || node->no_lock)
		request->flags |= QCOWFMT_OPEN_NO_LOCK;
	apply_choice(node->direct, &request->cache.direct);
	if (node->native && !request->cache.direct)
		return qcf_tool_printf(
			"aio=native was specified, but it "
			"requires cache.direct=on, which was not "
			"specified.");
	apply_choice(node->no_flush, &request->cache.no_flush);
	apply_choice(node->discard, &obey);
	request->ignore_discard = !obey;
	apply_passing(node, options);
	if (node->lazy_refcounts == QCF_CHOICE_ON)
		options->flags |= QCOWFMT_OPEN_LAZY_REFCOUNTS_ON;
	if (node->lazy_refcounts == QCF_CHOICE_OFF)
		options->flags |= QCOWFMT_OPEN_LAZY_REFCOUNTS_OFF;
	apply_caches(node, options);
	return NULL;
}

static void apply_untrusted(struct qcowfmt_open_options *options)
{
	options->max_metadata_size = UNTRUSTED_METADATA;
	options->max_key_iterations = UNTRUSTED_KEY_ITERATIONS;
	if (options->cache_size == 0 || options->cache_size > UNTRUSTED_CACHE)
		options->cache_size = UNTRUSTED_CACHE;
}

/* What is said of a backing file that nobody opens; NULL if nothing is. */
static char *check_references(const struct plan *plan)
{
	static const char prefix[] = "backing.";
	const struct qcf_image_opts *opts = plan->request.opts;
	size_t i;

	/* A check has no use for one, but may be told of it. */
	if (!plan->request.no_references || opts == NULL ||
	    (plan->request.flags & QCOWFMT_OPEN_REPAIR) != 0)
		return NULL;
	for (i = 0; i < opts->list.count; i++) {
		const char *key = opts->list.items[i].key;

		if (strncmp(key, prefix, strlen(prefix)) == 0)
			return qcf_tool_printf(
				"Block format '%s' does not support the option "
				"'%s'",
				opts->driver != NULL ? opts->driver : "qcow2",
				key);
	}
	return NULL;
}

static char *fill_options(struct plan *plan)
{
	struct qcf_tool_open *request = &plan->request;
	struct qcowfmt_open_options *options = &plan->options;
	char *reason = NULL;

	*options = (struct qcowfmt_open_options){
		.struct_size = sizeof(*options),
		.chain_limit = request->chain_limit,
		.snapshot_id = request->snapshot_id,
		.snapshot_name = request->snapshot_name,
		.reference_policy = request->no_references
		                            ? QCOWFMT_REFERENCES_IGNORE
		                            : QCOWFMT_REFERENCES_CALLBACK,
	};
	if ((request->flags & QCOWFMT_OPEN_NO_LOCK) != 0 &&
	    (request->flags & QCOWFMT_OPEN_READ_WRITE) != 0)
		return unshared();
	if (plan->node != NULL)
		reason = apply_node(plan->node, request, options);
	options->flags |= request->flags;
	if (request->cache.direct)
		options->flags |= QCOWFMT_OPEN_DIRECT;
	if (request->ignore_discard)
		options->discard_mode = QCOWFMT_DISCARD_IGNORE;
	if (request->in_order && options->cache_size == 0)
		options->cache_size = IN_ORDER_CACHE;
	if (is_untrusted)
		apply_untrusted(options);
	return reason != NULL ? reason : find_format(plan, &options->format);
}

/* Where the file is and how it and all others are opened. */
static char *fill_file(struct plan *plan)
{
	const struct qcf_tool_open *request = &plan->request;
	bool writing = (request->flags & QCOWFMT_OPEN_READ_WRITE) != 0;
	char *reason = NULL;

	plan->file = (struct qcf_tool_file){
		.writable = writing,
		.no_lock = (request->flags & QCOWFMT_OPEN_NO_LOCK) != 0,
		.direct = request->cache.direct,
		.no_flush = writing && request->cache.no_flush,
		.punch_zeros = request->punch_zeros,
	};
	plan->chain.how = plan->file;
	plan->chain.opts = request->opts;
	plan->chain.untrusted = is_untrusted;
	if (plan->node != NULL && plan->node->path != NULL) {
		plan->file.path = plan->node->path;
		plan->file.window = plan->node->window;
	} else {
		plan->file.path = qcf_tool_path(request->path, &reason);
	}
	if (reason == NULL)
		plan->chain.last_path = qcf_tool_printf("%s", plan->file.path);
	return reason;
}

/* The data file that the options name, in place of the one in the header. */
static char *open_data_file(struct plan *plan)
{
	struct qcf_tool_file file = plan->chain.how;
	char *reason = NULL;

	if (plan->node == NULL || plan->node->data_path == NULL ||
	    (plan->options.flags & QCOWFMT_OPEN_NO_DATA) != 0)
		return NULL;
	file.path = plan->node->data_path;
	(void)qcf_tool_file_open(&file, &plan->options.data_storage, &reason);
	return reason;
}

/* Version 1 has words of its own for what is no image. */
static char *name_format(char *reason)
{
	if (strcmp(reason, "Image is not in qcow2 format") != 0)
		return reason;
	free(reason);
	return qcf_tool_printf("Image not in qcow format");
}

/* The file was opened: open the image in it. */
static int open_image(struct plan *plan, struct qcowfmt_storage *storage,
                      struct qcowfmt_image **image, char **reason)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret;

	qcf_chain_use(&plan->chain, &plan->options);
	ret = qcowfmt_open(storage, &plan->options, image, &error);
	if (ret < 0) {
		*reason = qcf_chain_reason(&plan->chain, ret, error,
		                           plan->file.writable);
		if (plan->options.format == QCOWFMT_FORMAT_QCOW)
			*reason = name_format(*reason);
		qcowfmt_storage_free(storage);
		return ret;
	}
	/* It has the data file now. */
	plan->options.data_storage = NULL;
	if (!plan->request.no_references)
		*reason = qcf_chain_check_used(&plan->chain,
		                               plan->request.chain_limit);
	if (*reason == NULL)
		return 0;
	(void)qcowfmt_close(*image, NULL);
	*image = NULL;
	return -ENOTSUP;
}

static int open_planned(struct plan *plan, struct qcowfmt_image **image,
                        char **reason)
{
	struct qcowfmt_storage *storage;
	int ret;

	*reason = check_references(plan);
	if (*reason == NULL)
		*reason = fill_options(plan);
	if (*reason == NULL)
		*reason = fill_file(plan);
	if (*reason == NULL)
		*reason = check_header(&plan->file, plan->options.format,
		                       plan->request.opts);
	if (*reason == NULL)
		*reason = open_data_file(plan);
	if (*reason != NULL)
		return -EINVAL;
	storage = plan->request.storage;
	ret = storage != NULL
	              ? 0
	              : qcf_tool_file_open(&plan->file, &storage, reason);
	if (ret == 0)
		ret = open_image(plan, storage, image, reason);
	if (ret == 0 && plan->file.writable &&
	    plan->options.format == QCOWFMT_FORMAT_PROBE && is_raw(*image))
		warn_probed_raw(plan->file.path);
	return ret;
}

/* What the name says, if it is in JSON, and then what the options say. */
static char *join_options(const struct qcf_tool_open *request,
                          struct qcf_image_opts *all)
{
	const struct qcf_keyval_list *list =
		request->opts != NULL ? &request->opts->list : NULL;
	char *reason =
		qcf_image_opts_add_json(all, request->path, request->format);
	size_t i;

	for (i = 0; reason == NULL && list != NULL && i < list->count; i++)
		qcf_keyval_add(&all->list, list->items[i].key,
		               list->items[i].value);
	return reason != NULL ? reason : qcf_image_opts_renew(all);
}

int qcf_tool_open(const struct qcf_tool_open *request,
                  struct qcowfmt_image **image, char **reason)
{
	bool has_path = request->opts != NULL && request->opts->path != NULL;
	struct plan plan = { .request = *request };
	struct qcf_image_opts all = { 0 };
	int ret = -EINVAL;

	*image = NULL;
	*reason = NULL;
	if (!has_path && qcf_is_json_name(request->path)) {
		*reason = join_options(request, &all);
		plan.request.opts = &all;
	}
	if (plan.request.opts != NULL)
		plan.node = qcf_image_opts_node(plan.request.opts, 0);
	if (*reason == NULL)
		ret = open_planned(&plan, image, reason);
	qcowfmt_storage_free(plan.options.data_storage);
	qcf_chain_fini(&plan.chain);
	qcf_image_opts_fini(&all);
	return ret;
}

static char *describe(struct qcf_image_opts *opts, bool image_opts,
                      const char *argument, const char *format)
{
	char *reason;

	if (!image_opts)
		return qcf_image_opts_add_json(opts, argument, format);
	reason = qcf_image_opts_add(opts, argument);
	return reason != NULL ? reason : qcf_image_opts_check_path(opts);
}

bool qcf_tool_take_image(struct qcf_tool_open *request,
                         struct qcf_image_opts *opts, bool image_opts,
                         const char *argument)
{
	QCF_AUTO_FREE char *reason = NULL;

	request->path = argument;
	if (image_opts && request->format != NULL) {
		qcf_tool_error("--image-opts and --format are mutually "
		               "exclusive");
		return false;
	}
	if (!image_opts && !qcf_is_json_name(argument))
		return true;
	request->opts = opts;
	reason = describe(opts, image_opts, argument, request->format);
	if (reason != NULL && request->is_stored) {
		QCF_AUTO_FREE char *name = qcf_plain_text(argument);
		QCF_AUTO_FREE char *plain = qcf_plain_text(reason);

		qcf_tool_error("Could not open '%s': %s", name, plain);
	} else if (reason != NULL) {
		qcf_tool_error("Could not open '%s': %s", argument, reason);
	}
	return reason == NULL;
}
