/* SPDX-License-Identifier: MIT */
/*
 * img_amend_keys.c - adding and erasing keys with "qcow-img amend"
 *
 * active adds a key, inactive erases some.
 */
#include "img_amend_keys.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "tool_error.h"
#include "tool_secret.h"

static char *check_state(const struct img_key_change *c, bool *active)
{
	if (c->state == NULL)
		return qcf_tool_printf("Parameter 'state' is missing");
	*active = strcmp(c->state, "active") == 0;
	if (!*active && strcmp(c->state, "inactive") != 0)
		return qcf_tool_printf("Parameter 'state' does not accept "
		                       "value '%s'",
		                       c->state);
	if (*active && c->new_secret == NULL)
		return qcf_tool_printf("'new-secret' is required to activate a "
		                       "keyslot");
	if (*active && c->old_secret != NULL)
		return qcf_tool_printf("'old-secret' must not be given when "
		                       "activating keyslots");
	if (!*active && c->new_secret != NULL)
		return qcf_tool_printf("'new-secret' must not be given when "
		                       "erasing keyslots");
	if (!*active && c->iter_time != NULL)
		return qcf_tool_printf("'iter-time' must not be given when "
		                       "erasing keyslots");
	if (!*active && c->keyslot == NULL && c->old_secret == NULL)
		return qcf_tool_printf(
			"To erase keyslot(s), either explicit keyslot index or "
			"the password currently contained in them must be "
			"given");
	return NULL;
}

static char *take_slot(const struct img_key_change *c,
                       struct qcowfmt_key_options *key)
{
	uint32_t slot;

	if (c->keyslot == NULL)
		return NULL;
	/* QEMU keeps the lower half of a number, too. */
	slot = (uint32_t)strtoull(c->keyslot, NULL, 0);
	if (slot >= QCOWFMT_KEY_SLOT_COUNT)
		return qcf_tool_printf("Invalid keyslot %" PRIu32 " specified, "
		                       "must be between 0 and %d",
		                       slot, QCOWFMT_KEY_SLOT_COUNT - 1);
	key->flags |= QCOWFMT_KEY_SLOT;
	key->slot = slot;
	return NULL;
}

/* No time at all means the shortest; the library takes 0 for its default. */
static char *take_time(const struct img_key_change *c,
                       struct qcowfmt_key_options *key)
{
	uint64_t milliseconds;

	if (c->iter_time == NULL)
		return NULL;
	milliseconds = strtoull(c->iter_time, NULL, 0);
	if (milliseconds > UINT32_MAX)
		return qcf_tool_printf("Value '%s' is too large for parameter "
		                       "'encrypt.iter-time'",
		                       c->iter_time);
	key->iter_time_ms = (uint32_t)qcf_max(milliseconds, 1);
	return NULL;
}

static char *fill_key(bool force, const struct img_key_change *c,
                      struct qcowfmt_key_options *key)
{
	const char *id = c->new_secret != NULL ? c->new_secret : c->old_secret;
	char *reason = NULL;

	*key = (struct qcowfmt_key_options){
		.struct_size = sizeof(*key),
		.flags = force ? QCOWFMT_KEY_FORCE : 0,
	};
	if (id != NULL)
		reason = qcf_secret_find(id, &key->secret, &key->secret_len);
	if (reason == NULL)
		reason = take_slot(c, key);
	return reason != NULL ? reason : take_time(c, key);
}

/* ------------------------------------------------------------------- errors */

static char *add_reason(int ret, const struct qcowfmt_key_options *key,
                        const struct qcowfmt_error *error)
{
	switch (ret) {
	case -EEXIST:
		return qcf_tool_printf("Refusing to overwrite active keyslot "
		                       "%" PRIu32 " - please erase it first",
		                       key->slot);
	case -ENOSPC:
		if (qcowfmt_error_code(error) == QCOWFMT_ERR_SYSTEM)
			break;
		return qcf_tool_printf("Can't add a keyslot - all keyslots are "
		                       "in use");
	default:
		break;
	}
	return qcf_tool_printf("%s", qcowfmt_error_message(error));
}

static char *erase_reason(int ret, const struct qcowfmt_key_options *key,
                          const struct qcowfmt_error *error)
{
	bool has_slot = (key->flags & QCOWFMT_KEY_SLOT) != 0;

	/* No secret is in a slot that is not in use. */
	if (ret == -ENOENT && key->secret != NULL)
		ret = -EKEYREJECTED;
	switch (ret) {
	case -EPERM:
		if (has_slot)
			return qcf_tool_printf(
				"Attempt to erase the only active keyslot "
				"%" PRIu32 " which will erase all the data in "
				"the image irreversibly - refusing operation",
				key->slot);
		return qcf_tool_printf(
			"All the active keyslots match the (old) password that "
			"was given and erasing them will erase all the data in "
			"the image irreversibly - refusing operation");
	case -EKEYREJECTED:
		if (has_slot)
			return qcf_tool_printf(
				"Given keyslot %" PRIu32 " doesn't contain the "
				"given old password for erase operation",
				key->slot);
		return qcf_tool_printf("No keyslots match given (old) password "
		                       "for erase operation");
	case -ENOENT:
		return qcf_tool_printf("Given keyslot %" PRIu32 " is already "
		                       "erased (inactive) ",
		                       key->slot);
	default:
		return qcf_tool_printf("%s", qcowfmt_error_message(error));
	}
}

/* --------------------------------------------------------------- the change */

static char *check_encryption(struct qcowfmt_image *image)
{
	struct qcowfmt_info info = { .struct_size = sizeof(info) };

	if (qcowfmt_get_info(image, 0, &info, NULL) < 0 ||
	    info.encryption == QCOWFMT_ENCRYPTION_NONE)
		return qcf_tool_printf("Can't amend encryption options - "
		                       "encryption not present");
	if (info.encryption != QCOWFMT_ENCRYPTION_LUKS)
		return qcf_tool_printf("Only LUKS encryption options can be "
		                       "amended");
	return NULL;
}

char *img_amend_keys(struct qcowfmt_image *image,
                     const struct img_key_change *change, bool force)
{
	QCF_AUTO_ERROR struct qcowfmt_error *error = NULL;
	struct qcowfmt_key_options key;
	char *reason = check_encryption(image);
	bool active = false;
	int ret;

	if (reason == NULL)
		reason = check_state(change, &active);
	if (reason == NULL)
		reason = fill_key(force, change, &key);
	if (reason != NULL)
		return reason;
	if (active) {
		ret = qcowfmt_add_key(image, &key, &error);
		return ret < 0 ? add_reason(ret, &key, error) : NULL;
	}
	ret = qcowfmt_erase_key(image, &key, &error);
	return ret < 0 ? erase_reason(ret, &key, error) : NULL;
}
