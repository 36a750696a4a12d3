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
 *   relative/path    relative to the directory of the image that names it
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "reference.h"
#include "storage_file.h"

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

static bool is_local_name(const char *name)
{
	return protocol_len(name) == 0 || is_file_protocol(name);
}

/* The text up to and including the last slash; the caller frees it. */
static char *directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strndup(path, slash == NULL ? 0 : (size_t)(slash - path) + 1);
}

static char *join(const char *directory, const char *name)
{
	char *path = NULL;

	return asprintf(&path, "%s%s", directory, name) < 0 ? NULL : path;
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
		*path = strdup(name + 5);
	else if (protocol_len(name) > 0 || name[0] == '/')
		*path = strdup(name);
	else
		*path = join(directory, name);
	return *path == NULL ? qcf_fail_oom(errp) : 0;
}

static int refuse(const struct qcf_layer *layer, const char *why,
                  struct qcowfmt_error **errp)
{
	return qcf_fail(errp, EACCES, QCOWFMT_ERR_REFUSED,
	                "%s: backing file '%s' is not opened: %s",
	                layer->storage->name, layer->meta->header.backing_name,
	                why);
}

static int check_local(const struct qcf_layer *layer,
                       struct qcowfmt_error **errp)
{
	const char *name = layer->meta->header.backing_name;

	if (!is_local_name(name))
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: backing file '%s' is not opened: protocol "
		                "'%.*s' is not supported",
		                layer->storage->name, name,
		                (int)protocol_len(name), name);
	if (!layer->storage->is_file && name[0] != '/')
		return refuse(layer,
		              "a relative name needs an image that was opened "
		              "by path",
		              errp);
	return 0;
}

/* The declared format, or what the rules say where there is none. */
static int choose_format(const struct qcf_reference_rules *rules,
                         const struct qcf_layer *layer, int *format,
                         struct qcowfmt_error **errp)
{
	const char *declared = layer->meta->header.backing_format;

	if (declared != NULL) {
		*format = qcowfmt_format_from_name(declared);
		if (*format >= 0)
			return 0;
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "%s: backing file '%s' has the unsupported "
		                "format '%s'",
		                layer->storage->name,
		                layer->meta->header.backing_name, declared);
	}
	switch (rules->undeclared) {
	case QCOWFMT_UNDECLARED_RAW:
		*format = QCOWFMT_FORMAT_RAW;
		return 0;
	case QCOWFMT_UNDECLARED_PROBE:
		*format = QCOWFMT_FORMAT_PROBE;
		return 0;
	default:
		return refuse(layer,
		              "the image does not declare its format; set "
		              "undeclared_format to allow taking it as raw or "
		              "probing it",
		              errp);
	}
}

static int open_beneath(const struct qcf_reference_rules *rules,
                        const struct qcf_layer *layer,
                        struct qcowfmt_storage **storage, char **beneath,
                        struct qcowfmt_error **errp)
{
	const char *name = layer->meta->header.backing_name;
	QCF_AUTO_FREE char *path = NULL;
	int ret;

	if (name[0] == '/' || is_file_protocol(name))
		return refuse(layer,
		              "the reference policy allows only names beneath "
		              "the image's directory",
		              errp);
	path = join(layer->beneath == NULL ? "" : layer->beneath, name);
	if (path == NULL)
		return qcf_fail_oom(errp);
	*beneath = directory_of(path);
	if (*beneath == NULL)
		return qcf_fail_oom(errp);
	ret = qcf_storage_file_open(path, rules->first_directory,
	                            rules->file_flags, storage, errp);
	return ret;
}

static int open_by_callback(const struct qcf_reference_rules *rules,
                            const struct qcf_layer *layer,
                            struct qcowfmt_storage **storage, int *format,
                            struct qcowfmt_error **errp)
{
	const struct qcf_header *h = &layer->meta->header;
	struct qcowfmt_reference reference = {
		.struct_size = sizeof(reference),
		.kind = QCOWFMT_REFERENCE_BACKING,
		.depth = layer->depth + 1,
		.name = h->backing_name,
		.format = h->backing_format,
		.referrer = layer->storage->name,
	};
	int32_t chosen = QCOWFMT_FORMAT_PROBE;
	int ret = rules->callback(rules->opaque, &reference, storage, &chosen);

	if (ret < 0)
		return qcf_fail(errp, -ret, QCOWFMT_ERR_REFUSED,
		                "%s: backing file '%s' was refused by the "
		                "reference callback: %s",
		                layer->storage->name, h->backing_name,
		                strerrordesc_np(-ret) == NULL
		                        ? "unknown error"
		                        : strerrordesc_np(-ret));
	if (*storage == NULL)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the reference callback supplied no storage "
		                "for '%s'",
		                h->backing_name);
	if (chosen != QCOWFMT_FORMAT_PROBE) {
		*format = chosen;
		return 0;
	}
	return choose_format(rules, layer, format, errp);
}

int qcf_reference_open(const struct qcf_reference_rules *rules,
                       const struct qcf_layer *layer,
                       struct qcowfmt_storage **storage, int *format,
                       char **beneath, struct qcowfmt_error **errp)
{
	int ret;

	if (rules->policy == QCOWFMT_REFERENCES_CALLBACK)
		return open_by_callback(rules, layer, storage, format, errp);
	if (rules->policy != QCOWFMT_REFERENCES_LOCAL &&
	    rules->policy != QCOWFMT_REFERENCES_BENEATH)
		return refuse(layer,
		              "the reference policy is to refuse; set "
		              "reference_policy to allow it",
		              errp);
	ret = check_local(layer, errp);
	if (ret == 0)
		ret = choose_format(rules, layer, format, errp);
	if (ret < 0)
		return ret;
	if (rules->policy == QCOWFMT_REFERENCES_BENEATH)
		ret = open_beneath(rules, layer, storage, beneath, errp);
	else
		ret = qcf_storage_file_open(layer->backing_path, NULL,
		                            rules->file_flags, storage, errp);
	return qcf_wrapf(errp, ret, "%s: opening the backing file",
	                 layer->storage->name);
}
