/* SPDX-License-Identifier: MIT */
/*
 * reference.c - from the name an image stores to a file that may be opened
 *
 * A stored name is one of
 *
 *   json:{...}       refused by name
 *   PROTOCOL:REST    a colon before the first slash: "file" is a local path
 *                    relative to the process; all others are refused by name
 *   /absolute/path
 *   relative/path    backing file: relative to the directory of the image that
 *                    names it; data file: relative to the process, except
 *                    under the policy "beneath"
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "reference.h"
#include "storage_file.h"

/* What is to be opened, and for which layer. */
struct wanted {
	const struct qcf_layer *layer;
	const char *what; /* for messages */
	int kind;         /* enum qcowfmt_reference_kind */
	const char *name;
	const char *format; /* declared, or NULL */
	const char *path;   /* the name, resolved, for the policy "local" */
	bool writable;
};

/* The length of a protocol name in front of a colon; 0 if there is none. */
static size_t protocol_len(const char *name)
{
	size_t len = strcspn(name, ":/");

	return name[len] == ':' ? len : 0;
}

static bool is_file_protocol(const char *name)
{
	return strncmp(name, "file:", 5) == 0;
}

static const char *without_protocol(const char *name)
{
	return is_file_protocol(name) ? name + 5 : name;
}

static bool is_local_name(const char *name)
{
	return protocol_len(name) == 0 || is_file_protocol(name);
}

/* The text up to and including the last slash; the caller frees it. */
static char *directory_of(const char *path)
{
	size_t len = strlen(path);

	while (len > 0 && path[len - 1] != '/')
		len--;
	return strndup(path, len);
}

static char *join(const char *directory, const char *name)
{
	char *path;

	if (asprintf(&path, "%s%s", directory, name) < 0)
		return NULL;
	return path;
}

int qcf_reference_path(const struct qcf_layer *layer, char **path,
                       struct qcowfmt_error **errp)
{
	const char *name =
		layer->meta == NULL ? NULL : layer->meta->header.backing_name;
	QCF_AUTO_FREE char *directory = NULL;

	*path = NULL;
	if (name == NULL)
		return 0;
	directory = directory_of(layer->storage->name);
	if (directory == NULL)
		return qcf_fail_oom(errp);
	if (is_file_protocol(name))
		*path = strdup(without_protocol(name));
	else if (protocol_len(name) > 0 || name[0] == '/')
		*path = strdup(name);
	else
		*path = join(directory, name);
	return *path == NULL ? qcf_fail_oom(errp) : 0;
}

static int refuse(const struct wanted *w, const char *why,
                  struct qcowfmt_error **errp)
{
	return qcf_fail(errp, EACCES, QCOWFMT_ERR_REFUSED,
	                "%s: %s '%s' is not opened: %s",
	                w->layer->storage->name, w->what, w->name, why);
}

/* Whether the name starts at the directory of the layer's file. */
static bool needs_directory(const struct qcf_reference_rules *rules,
                            const struct wanted *w)
{
	return w->name[0] != '/' &&
	       (w->kind == QCOWFMT_REFERENCE_BACKING ||
	        rules->policy == QCOWFMT_REFERENCES_BENEATH);
}

static int check_local(const struct qcf_reference_rules *rules,
                       const struct wanted *w, struct qcowfmt_error **errp)
{
	if (!is_local_name(w->name))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: %s '%s' is not opened: protocol '%.*s' is "
		                "not supported",
		                w->layer->storage->name, w->what, w->name,
		                (int)protocol_len(w->name), w->name);
	if (!w->layer->storage->is_file && needs_directory(rules, w))
		return refuse(w,
		              "a relative name needs an image that was opened "
		              "by path",
		              errp);
	return 0;
}

/* The declared format, or what the rules say where there is none. */
static int choose_format(const struct qcf_reference_rules *rules,
                         const struct wanted *w, int *format,
                         struct qcowfmt_error **errp)
{
	if (w->format != NULL) {
		*format = qcowfmt_format_from_name(w->format);
		if (*format >= 0)
			return 0;
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: %s '%s' has the unsupported format '%s'",
		                w->layer->storage->name, w->what, w->name,
		                w->format);
	}
	switch (rules->undeclared) {
	case QCOWFMT_UNDECLARED_RAW:
		*format = QCOWFMT_FORMAT_RAW;
		return 0;
	case QCOWFMT_UNDECLARED_PROBE:
		*format = QCOWFMT_FORMAT_PROBE;
		return 0;
	default:
		return refuse(w,
		              "the image does not declare its format; set "
		              "undeclared_format to allow taking it as raw or "
		              "probing it",
		              errp);
	}
}

static uint32_t file_flags(const struct qcf_reference_rules *rules,
                           const struct wanted *w)
{
	return w->writable
	               ? rules->file_flags & ~(uint32_t)QCOWFMT_FILE_READ_ONLY
	               : rules->file_flags;
}

static int open_beneath(const struct qcf_reference_rules *rules,
                        const struct wanted *w,
                        struct qcowfmt_storage **storage, char **beneath,
                        struct qcowfmt_error **errp)
{
	const char *above = w->layer->beneath;
	QCF_AUTO_FREE char *path = NULL;

	if (w->name[0] == '/' || is_file_protocol(w->name))
		return refuse(w,
		              "the reference policy allows only names beneath "
		              "the image's directory",
		              errp);
	path = join(above == NULL ? "" : above, w->name);
	if (path == NULL)
		return qcf_fail_oom(errp);
	*beneath = directory_of(path);
	if (*beneath == NULL)
		return qcf_fail_oom(errp);
	return qcf_storage_file_open(path, rules->first_directory,
	                             file_flags(rules, w), storage, errp);
}

static int open_by_callback(const struct qcf_reference_rules *rules,
                            const struct wanted *w,
                            struct qcowfmt_storage **storage, int *format,
                            struct qcowfmt_error **errp)
{
	struct qcowfmt_reference reference = {
		.struct_size = sizeof(reference),
		.kind = w->kind,
		.depth = w->layer->depth + 1,
		.name = w->name,
		.format = w->format,
		.referrer = w->layer->storage->name,
		.writable = w->writable,
	};
	int32_t chosen = QCOWFMT_FORMAT_PROBE;
	int ret = rules->callback(rules->opaque, &reference, storage, &chosen);

	if (ret < 0)
		return qcf_fail_because(errp, -ret, QCOWFMT_ERR_REFUSED,
		                        "%s: %s '%s' was refused by the "
		                        "reference callback",
		                        w->layer->storage->name, w->what,
		                        w->name);
	if (*storage == NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the reference callback supplied no storage "
		                "for '%s'",
		                w->name);
	if (chosen != QCOWFMT_FORMAT_PROBE) {
		*format = chosen;
		return 0;
	}
	return choose_format(rules, w, format, errp);
}

/* *beneath is set with the policy "beneath" only. */
static int open_wanted(const struct qcf_reference_rules *rules,
                       const struct wanted *w, struct qcowfmt_storage **storage,
                       int *format, char **beneath, struct qcowfmt_error **errp)
{
	int ret;

	if (rules->policy == QCOWFMT_REFERENCES_CALLBACK)
		return open_by_callback(rules, w, storage, format, errp);
	if (rules->policy != QCOWFMT_REFERENCES_LOCAL &&
	    rules->policy != QCOWFMT_REFERENCES_BENEATH)
		return refuse(w,
		              "the reference policy is to refuse; set "
		              "reference_policy to allow it",
		              errp);
	ret = check_local(rules, w, errp);
	if (ret == 0)
		ret = choose_format(rules, w, format, errp);
	if (ret < 0)
		return ret;
	if (rules->policy == QCOWFMT_REFERENCES_BENEATH)
		ret = open_beneath(rules, w, storage, beneath, errp);
	else
		ret = qcf_storage_file_open(w->path, NULL, file_flags(rules, w),
		                            storage, errp);
	return qcf_wrapf(errp, ret, "%s: opening the %s",
	                 w->layer->storage->name, w->what);
}

int qcf_reference_open(const struct qcf_reference_rules *rules,
                       const struct qcf_layer *layer,
                       struct qcowfmt_storage **storage, int *format,
                       char **beneath, struct qcowfmt_error **errp)
{
	const struct wanted w = {
		.layer = layer,
		.what = "backing file",
		.kind = QCOWFMT_REFERENCE_BACKING,
		.name = layer->meta->header.backing_name,
		.format = layer->meta->header.backing_format,
		.path = layer->backing_path,
	};

	return open_wanted(rules, &w, storage, format, beneath, errp);
}

/* --------------------------------------------------------------- data files */

int qcf_reference_data_file_path(const char *name, const char **path,
                                 struct qcowfmt_error **errp)
{
	if (!is_local_name(name))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "data file '%s': protocol '%.*s' is not "
		                "supported",
		                name, (int)protocol_len(name), name);
	*path = without_protocol(name);
	return 0;
}

/* Guest data must not be written over the metadata that says where it is. */
static int check_data_storage(const struct wanted *w,
                              const struct qcowfmt_storage *data, int format,
                              struct qcowfmt_error **errp)
{
	const struct qcowfmt_storage *image = w->layer->storage;

	if (format != QCOWFMT_FORMAT_RAW)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "%s: data file '%s' can only be raw",
		                image->name, w->name);
	if (w->writable && !data->writable)
		return qcf_fail(errp, EACCES, QCOWFMT_ERR_READ_ONLY,
		                "%s: data file '%s' is read-only", image->name,
		                w->name);
	if (qcf_storage_is_same(data, image))
		return qcf_fail(errp, ELOOP, QCOWFMT_ERR_CORRUPT,
		                "%s: data file '%s' is the image itself",
		                image->name, w->name);
	return 0;
}

static int check_name(const struct wanted *w, struct qcowfmt_error **errp)
{
	if (w->name != NULL)
		return 0;
	return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
	                "%s: the image has its data in a file of its own, but "
	                "does not name it; it must be given when opening",
	                w->layer->storage->name);
}

int qcf_reference_open_data_file(const struct qcf_reference_rules *rules,
                                 const struct qcf_layer *layer, bool writable,
                                 struct qcowfmt_storage **storage,
                                 struct qcowfmt_error **errp)
{
	struct wanted w = {
		.layer = layer,
		.what = "data file",
		.kind = QCOWFMT_REFERENCE_DATA_FILE,
		.name = layer->meta->header.data_file_name,
		.format = "raw",
		.writable = writable,
	};
	QCF_AUTO_FREE char *beneath = NULL;
	int format = QCOWFMT_FORMAT_RAW;
	int ret;

	*storage = NULL;
	if (rules->policy == QCOWFMT_REFERENCES_IGNORE)
		return 0;
	ret = check_name(&w, errp);
	if (ret < 0)
		return ret;
	w.path = without_protocol(w.name);
	ret = open_wanted(rules, &w, storage, &format, &beneath, errp);
	if (ret == 0)
		ret = check_data_storage(&w, *storage, format, errp);
	if (ret < 0)
		qcowfmt_storage_free(qcf_take(storage));
	return ret;
}
