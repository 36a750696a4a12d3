/* SPDX-License-Identifier: MIT */
/* tool_chain.c - following what images name, the way QEMU's programs do */
#include "tool_chain.h"

#include <errno.h>
#include <string.h>

#include "tool_driver.h"
#include "tool_error.h"
#include "tool_secret.h"
#include "tool_text.h"

/* Images of a chain, each of which is an open file: QEMU has no limit of its own. */
#define MAX_DEPTH 4096u

/* -------------------------------------------------------------------- names */

/* Where the part of a name that is a path starts; NULL: another protocol. */
static const char *skip_file_protocol(const char *name)
{
	size_t len = strcspn(name, ":/");

	if (name[len] != ':')
		return name;
	if (len == strlen("file") && strncmp(name, "file", len) == 0)
		return name + len + 1;
	return NULL;
}

const char *qcf_tool_path(const char *name, char **reason)
{
	const char *path = skip_file_protocol(name);
	int len = (int)strcspn(name, ":");
	QCF_AUTO_FREE char *protocol = NULL;
	QCF_AUTO_FREE char *whole = NULL;

	if (path != NULL)
		return path;
	whole = qcf_plain_text(name);
	protocol = qcf_tool_printf("%.*s", len, whole);
	if (qcf_is_known_driver(protocol))
		*reason = qcf_tool_printf("Protocol '%s' is not supported by "
		                          "this version",
		                          protocol);
	else
		*reason = qcf_tool_printf("Unknown protocol '%s'", protocol);
	return NULL;
}

char *qcf_resolve_reference(const char *referrer, const char *reference)
{
	const char *path = skip_file_protocol(reference);
	const char *slash = strrchr(referrer, '/');

	if (path != reference || *reference == '/' || slash == NULL)
		return qcf_tool_printf("%s", path == NULL ? reference : path);
	return qcf_tool_printf("%.*s%s", (int)(slash + 1 - referrer), referrer,
	                       reference);
}

/* ------------------------------------------------------------------ secrets */

static char *find_secret(const char *id, void *buffer, size_t room, size_t *len)
{
	const void *bytes;
	char *reason = qcf_secret_find(id, &bytes, len);

	if (reason == NULL && *len > room)
		return qcf_tool_printf("Secret '%s' is too long", id);
	if (reason == NULL)
		memcpy(buffer, bytes, *len);
	return reason;
}

/* What was said of the image at a depth of the chain, or NULL. */
static const struct qcf_image_node *find_node(const struct qcf_chain *chain,
                                              uint32_t depth)
{
	if (chain->opts == NULL || depth < chain->depth)
		return NULL;
	return qcf_image_opts_node(chain->opts, depth - chain->depth);
}

/* Asked only for images that are encrypted: a secret that nothing needs may be
 * missing. */
static int64_t give_secret(void *opaque,
                           const struct qcowfmt_secret_request *request,
                           void *buffer, size_t room)
{
	struct qcf_chain *chain = opaque;
	const struct qcf_image_node *node = find_node(chain, request->depth);
	size_t len;

	chain->asked = request->depth;
	if (node == NULL || node->secret == NULL)
		return -ENOKEY;
	free(chain->reason);
	chain->reason = find_secret(node->secret, buffer, room, &len);
	return chain->reason == NULL ? (int64_t)len : -ENOKEY;
}

/* --------------------------------------------------------------- references */

static int fail(struct qcf_chain *chain, int ret, char *reason)
{
	free(chain->reason);
	chain->reason = reason;
	return ret;
}

/* Open a file for the image at a depth, as it was said of it. */
static int open_file(struct qcf_chain *chain, const struct qcf_image_node *node,
                     const char *path, bool writable,
                     struct qcowfmt_storage **storage)
{
	struct qcf_tool_file file = chain->how;
	char *reason = NULL;
	int ret;

	file.path = path;
	file.writable = writable;
	if (node != NULL) {
		file.window = node->window;
		file.no_lock =
			file.no_lock || node->no_lock || node->force_share;
		if (node->direct != QCF_CHOICE_NONE)
			file.direct = node->direct == QCF_CHOICE_ON;
	}
	ret = qcf_tool_file_open(&file, storage, &reason);
	return ret < 0 ? fail(chain, ret, reason) : 0;
}

static int open_path(struct qcf_chain *chain,
                     const struct qcowfmt_reference *reference,
                     struct qcowfmt_storage **storage)
{
	bool is_backing = reference->kind == QCOWFMT_REFERENCE_BACKING;
	/* Names of data files are relative to the process. */
	QCF_AUTO_FREE char *path = qcf_resolve_reference(
		is_backing ? reference->referrer : "", reference->name);
	char *reason = NULL;

	if (qcf_tool_path(reference->name, &reason) == NULL)
		return fail(chain, -ENOTSUP, reason);
	if (is_backing) {
		free(chain->last_path);
		chain->last_path = qcf_tool_printf("%s", path);
	}
	return open_file(chain, NULL, path, reference->writable, storage);
}

/* A backing file that is described; what it stores as format comes first. */
static int open_described(struct qcf_chain *chain,
                          const struct qcf_image_node *node,
                          bool format_is_declared,
                          struct qcowfmt_storage **storage, int32_t *format)
{
	free(chain->last_path);
	chain->last_path = qcf_tool_printf("%s", node->path);
	if (!format_is_declared && node->driver != NULL)
		*format = strcmp(node->driver, "file") == 0
		                  ? QCOWFMT_FORMAT_RAW
		                  : qcowfmt_format_from_name(node->driver);
	return open_file(chain, node, node->path, false, storage);
}

/* Without line ends, which can only come from the image. */
static char *plain_reason(char *reason)
{
	char *plain = qcf_plain_text(reason);

	free(reason);
	return plain;
}

/* A stored name in JSON describes the image and maybe those below. */
static int open_stored_json(struct qcf_chain *chain,
                            const struct qcowfmt_reference *reference,
                            struct qcowfmt_storage **storage, int32_t *format)
{
	struct qcf_image_opts *opts = qcf_tool_alloc(sizeof(*opts));
	char *reason = qcf_image_opts_add_json(opts, reference->name,
	                                       reference->format);

	if (reason != NULL) {
		qcf_image_opts_fini(opts);
		free(opts);
		return fail(chain, -EINVAL, plain_reason(reason));
	}
	if (chain->stored != NULL)
		qcf_image_opts_fini(chain->stored);
	free(chain->stored);
	chain->stored = opts;
	chain->opts = opts;
	chain->depth = reference->depth;
	return open_described(chain, &opts->nodes[0], reference->format != NULL,
	                      storage, format);
}

/* In place of a backing file that is not to be there: zeros, everywhere. */
static int open_nothing(struct qcf_chain *chain,
                        struct qcowfmt_storage **storage, int32_t *format)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	int ret = qcowfmt_storage_new_memory(0, storage, &error);

	*format = QCOWFMT_FORMAT_RAW;
	if (ret < 0)
		return fail(
			chain, ret,
			qcf_tool_printf("%s", qcowfmt_error_message(error)));
	return 0;
}

static int refuse_untrusted(struct qcf_chain *chain,
                            const struct qcowfmt_reference *reference)
{
	QCF_AUTO_FREE char *name = qcf_plain_text(reference->name);

	return fail(chain, -EACCES,
	            qcf_tool_printf("The image names '%s', which --untrusted "
	                            "does not let it open",
	                            name));
}

static int open_backing(struct qcf_chain *chain,
                        const struct qcowfmt_reference *reference,
                        struct qcowfmt_storage **storage, int32_t *format)
{
	const struct qcf_image_node *above =
		find_node(chain, reference->depth - 1);
	const struct qcf_image_node *node = find_node(chain, reference->depth);

	chain->asked = reference->depth;
	if (above != NULL && above->no_backing)
		return open_nothing(chain, storage, format);
	if (node != NULL && node->path != NULL)
		return open_described(chain, node,
		                      node->driver == NULL &&
		                              reference->format != NULL,
		                      storage, format);
	if (chain->untrusted)
		return refuse_untrusted(chain, reference);
	if (qcf_is_json_name(reference->name))
		return open_stored_json(chain, reference, storage, format);
	return open_path(chain, reference, storage);
}

static int open_data_file(struct qcf_chain *chain,
                          const struct qcowfmt_reference *reference,
                          struct qcowfmt_storage **storage)
{
	const struct qcf_image_node *node =
		find_node(chain, reference->depth - 1);

	if (node != NULL && node->data_path != NULL)
		return open_file(chain, NULL, node->data_path,
		                 reference->writable, storage);
	if (chain->untrusted)
		return refuse_untrusted(chain, reference);
	return open_path(chain, reference, storage);
}

static int open_reference(void *opaque,
                          const struct qcowfmt_reference *reference,
                          struct qcowfmt_storage **storage, int32_t *format)
{
	struct qcf_chain *chain = opaque;

	if (reference->kind == QCOWFMT_REFERENCE_DATA_FILE)
		return open_data_file(chain, reference, storage);
	return open_backing(chain, reference, storage, format);
}

void qcf_chain_use(struct qcf_chain *chain,
                   struct qcowfmt_open_options *options)
{
	options->secret_callback = give_secret;
	options->secret_opaque = chain;
	if (options->reference_policy == QCOWFMT_REFERENCES_IGNORE)
		return;
	options->reference_policy = QCOWFMT_REFERENCES_CALLBACK;
	options->reference_callback = open_reference;
	options->reference_opaque = chain;
	options->undeclared_format = QCOWFMT_UNDECLARED_PROBE;
	options->max_chain_depth = MAX_DEPTH;
}

char *qcf_chain_check_used(const struct qcf_chain *chain, uint32_t limit)
{
	uint32_t depth = chain->asked + 1;
	const struct qcf_image_node *node = find_node(chain, depth);

	if (node == NULL || node->path == NULL)
		return NULL;
	if (limit != 0 && depth - chain->first >= limit)
		return NULL;
	return qcf_tool_printf(
		"Option 'backing.file.filename' is not supported "
		"by this version for an image that names no "
		"backing file");
}

/* ------------------------------------------------------------------ failure */

/* Whether an error is about the image that was opened last. */
static bool is_of_last_image(const struct qcf_chain *chain,
                             const struct qcowfmt_error *error)
{
	const char *message;
	size_t len;

	switch (qcowfmt_error_code(error)) {
	case QCOWFMT_ERR_LOCKED:
	case QCOWFMT_ERR_NO_SECRET:
	case QCOWFMT_ERR_WRONG_SECRET:
		return true;
	default:
		break;
	}
	message = qcowfmt_error_message(error);
	len = strlen(chain->last_path);
	return strncmp(message, chain->last_path, len) == 0;
}

char *qcf_chain_reason(struct qcf_chain *chain, int ret,
                       const struct qcowfmt_error *error, bool writing)
{
	bool is_own = chain->reason != NULL;
	char *reason = chain->reason;
	uint32_t i;

	chain->reason = NULL;
	if (!is_own)
		reason = qcf_tool_reason(ret, error, chain->last_path,
		                         writing && chain->asked == 0);
	if (!is_own && !is_of_last_image(chain, error))
		return reason;
	/* It says what, but not of which image of the chain. */
	for (i = chain->first; i < chain->asked; i++) {
		char *longer = qcf_tool_printf(
			"Could not open backing file: %s", reason);

		free(reason);
		reason = longer;
	}
	return reason;
}

void qcf_chain_fini(struct qcf_chain *chain)
{
	if (chain->stored != NULL)
		qcf_image_opts_fini(chain->stored);
	free(chain->stored);
	free(chain->last_path);
	free(chain->reason);
	*chain = (struct qcf_chain){ 0 };
}
