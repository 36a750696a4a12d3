/* SPDX-License-Identifier: MIT */
/* convert_api.c - exported functions that copy disks */
#include "convert.h"
#include "options.h"
#include "stream.h"

/* A caller's options and result as this library knows them. */
struct convert_call {
	struct qcowfmt_convert_options o;
	struct qcowfmt_convert_result result;
};

static int begin(struct convert_call *call,
                 const struct qcowfmt_convert_options *options,
                 struct qcowfmt_error **errp)
{
	int ret = qcf_options_copy(&call->o, sizeof(call->o), options,
	                           "qcowfmt_convert_options", errp);

	call->result = (struct qcowfmt_convert_result){ 0 };
	if (ret < 0 || call->o.result == NULL)
		return ret;
	return qcf_result_copy(call->o.result, &call->result,
	                       sizeof(call->result), "qcowfmt_convert_result",
	                       errp);
}

/* The structure was found fit when the call began. */
static int end(const struct convert_call *call, int ret)
{
	if (call->o.result != NULL)
		(void)qcf_result_copy(call->o.result, &call->result,
		                      sizeof(call->result),
		                      "qcowfmt_convert_result", NULL);
	return ret;
}

int qcowfmt_convert(struct qcowfmt_image *const *sources, size_t source_count,
                    struct qcowfmt_image *target,
                    const struct qcowfmt_convert_options *options,
                    struct qcowfmt_error **errp)
{
	struct convert_call call;
	int ret = begin(&call, options, errp);

	if (ret < 0)
		return ret;
	ret = qcf_convert(sources, source_count, target, &call.o, &call.result,
	                  errp);
	return end(&call, ret);
}

int qcowfmt_stream(struct qcowfmt_image *const *sources, size_t source_count,
                   const struct qcowfmt_create_options *create,
                   const struct qcowfmt_convert_options *options,
                   qcowfmt_stream_callback callback, void *opaque,
                   struct qcowfmt_error **errp)
{
	struct qcowfmt_create_options c;
	struct convert_call call;
	int ret = qcf_options_copy(&c, sizeof(c), create,
	                           "qcowfmt_create_options", errp);

	if (ret == 0)
		ret = begin(&call, options, errp);
	if (ret < 0)
		return ret;
	ret = qcf_stream(sources, source_count, &c, &call.o, callback, opaque,
	                 &call.result, errp);
	return end(&call, ret);
}
