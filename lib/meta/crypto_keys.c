/* SPDX-License-Identifier: MIT */
/*
 * crypto_keys.c - add and erase the keys of a LUKS image
 *
 * What a power cut may leave, at any instant: every key that is not being
 * changed opens the image, and every slot that is active has a key.
 *
 *   - A slot becomes active or inactive by a write that changes its state only,
 *     which no power cut can tear.  Everything else of it changes while it is
 *     inactive on stable storage.
 *   - So a key is added by writing material, salt and iterations, a flush, and
 *     the state; it is erased by writing the state, a flush, and wiping the
 *     rest.
 *   - A key that is replaced is first added to a free slot, if there is one, and
 *     erased from there at the end: the old or the new one always opens.
 *
 * Slots in memory follow those on storage, after the flush.
 */
#include <inttypes.h>
#include <string.h>

#include "crypt_lib.h"
#include "crypto_state.h"

/* Each pass has reached the medium before the next one begins. */
#define ERASE_PASSES 3

#define NO_SLOT QCF_LUKS_SLOTS

/* A key change under way. */
struct change {
	struct qcf_crypto *crypto;
	struct qcowfmt_storage *storage;
	struct qcf_poison *poison;
};

/* What fills a slot. */
struct new_key {
	struct qcf_luks_slot slot; /* key_sector is set when it is put */
	uint8_t *material;         /* owned */
};

/* -------------------------------------------------------------------- slots */

static const struct qcf_luks_slot *slot_at(const struct change *change,
                                           uint32_t index)
{
	return &change->crypto->header.slots[index];
}

static uint32_t first_free(const struct change *change)
{
	uint32_t i = 0;

	while (i < QCF_LUKS_SLOTS && slot_at(change, i)->active)
		i++;
	return i;
}

/* Bit n stands for slot n. */
static uint32_t active_slots(const struct change *change)
{
	uint32_t set = 0;

	for (uint32_t i = 0; i < QCF_LUKS_SLOTS; i++) {
		if (slot_at(change, i)->active)
			set |= UINT32_C(1) << i;
	}
	return set;
}

static void publish(struct change *change, uint32_t index,
                    const struct qcf_luks_slot *slot)
{
	QCF_GUARD(&change->crypto->slots_lock);
	change->crypto->header.slots[index] = *slot;
}

/* ------------------------------------------------------------------ storage */

static uint64_t material_offset(const struct change *change, uint32_t index)
{
	return change->crypto->area_offset +
	       (uint64_t)slot_at(change, index)->key_sector * QCF_LUKS_SECTOR;
}

static size_t material_len(const struct change *change)
{
	return qcf_luks_material_len(change->crypto->header.key_len);
}

static int flush(struct change *change, struct qcowfmt_error **errp)
{
	return qcf_flush_or_poison(change->storage, change->poison, errp);
}

static int write_slot(struct change *change, uint32_t index,
                      const struct qcf_luks_slot *slot,
                      struct qcowfmt_error **errp)
{
	uint8_t bytes[QCF_LUKS_SLOT_LEN];

	qcf_luks_slot_encode(slot, bytes);
	return qcf_storage_pwrite(change->storage, bytes, sizeof(bytes),
	                          change->crypto->area_offset +
	                                  qcf_luks_slot_offset(index),
	                          errp);
}

/* Storage that loses what it is given must not cost the old key. */
static int verify_material(struct change *change, uint32_t index,
                           const uint8_t *material, struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *bytes = NULL;
	int ret = qcf_crypto_read_material(change->crypto, change->storage,
	                                   index, &bytes, errp);

	if (ret < 0)
		return ret;
	if (memcmp(bytes, material, material_len(change)) == 0)
		return 0;
	return qcf_fail(errp, EIO, QCOWFMT_ERR_IO,
	                "key material at host offset 0x%" PRIx64
	                " does not read back as it was written",
	                material_offset(change, index));
}

/* The slot is inactive. */
static int put_key(struct change *change, uint32_t index,
                   const struct new_key *key, struct qcowfmt_error **errp)
{
	struct qcf_luks_slot slot = key->slot;
	int ret = qcf_storage_pwrite(change->storage, key->material,
	                             material_len(change),
	                             material_offset(change, index), errp);

	slot.key_sector = slot_at(change, index)->key_sector;
	slot.active = false;
	if (ret == 0)
		ret = write_slot(change, index, &slot, errp);
	if (ret == 0)
		ret = flush(change, errp);
	if (ret == 0)
		ret = verify_material(change, index, key->material, errp);
	slot.active = true;
	if (ret == 0)
		ret = write_slot(change, index, &slot, errp);
	if (ret == 0)
		ret = flush(change, errp);
	if (ret == 0)
		publish(change, index, &slot);
	return ret;
}

/* Overwrite the material of an inactive slot, and forget its salt. */
static int wipe(struct change *change, uint32_t index,
                struct qcowfmt_error **errp)
{
	QCF_AUTO_FREE uint8_t *noise = malloc(material_len(change));
	struct qcf_luks_slot slot = {
		.key_sector = slot_at(change, index)->key_sector,
		.stripes = slot_at(change, index)->stripes,
	};
	int ret = noise == NULL ? qcf_fail_oom(errp)
	                        : write_slot(change, index, &slot, errp);

	for (int pass = 0; ret == 0 && pass < ERASE_PASSES; pass++) {
		ret = qcf_random_bytes(noise, material_len(change), errp);
		if (ret == 0)
			ret = qcf_storage_pwrite(
				change->storage, noise, material_len(change),
				material_offset(change, index), errp);
		if (ret == 0)
			ret = flush(change, errp);
	}
	if (ret == 0)
		publish(change, index, &slot);
	return ret;
}

static bool has_slot(uint32_t set, uint32_t index)
{
	return (set >> index & 1) != 0;
}

static int deactivate(struct change *change, uint32_t set,
                      struct qcowfmt_error **errp)
{
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < QCF_LUKS_SLOTS; i++) {
		struct qcf_luks_slot slot = *slot_at(change, i);

		slot.active = false;
		if (has_slot(set, i))
			ret = write_slot(change, i, &slot, errp);
	}
	if (ret == 0)
		ret = flush(change, errp);
	for (uint32_t i = 0; ret == 0 && i < QCF_LUKS_SLOTS; i++) {
		struct qcf_luks_slot slot = *slot_at(change, i);

		slot.active = false;
		if (has_slot(set, i))
			publish(change, i, &slot);
	}
	return ret;
}

static int drop_keys(struct change *change, uint32_t set,
                     struct qcowfmt_error **errp)
{
	int ret = deactivate(change, set, errp);

	for (uint32_t i = 0; ret == 0 && i < QCF_LUKS_SLOTS; i++) {
		if (has_slot(set, i))
			ret = wipe(change, i, errp);
	}
	return ret;
}

/* ------------------------------------------------------------------ options */

static int check_common(const struct qcf_crypto *crypto,
                        const struct qcowfmt_key_options *options,
                        struct qcowfmt_error **errp)
{
	const uint32_t known = QCOWFMT_KEY_SLOT | QCOWFMT_KEY_FORCE;

	if ((options->flags & ~known) != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "unknown key flags 0x%" PRIx32,
		                options->flags & ~known);
	if (options->slot >= QCF_LUKS_SLOTS)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "key slot %" PRIu32 ", want 0 to %u",
		                options->slot, QCF_LUKS_SLOTS - 1);
	if (options->slot != 0 && (options->flags & QCOWFMT_KEY_SLOT) == 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "a key slot without QCOWFMT_KEY_SLOT");
	if (options->secret_len > QCOWFMT_MAX_SECRET)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "the secret has %zu bytes, want at most %d",
		                options->secret_len, QCOWFMT_MAX_SECRET);
	if (crypto->method != QCOWFMT_ENCRYPTION_LUKS)
		return qcf_fail(errp, ENOTSUP, QCOWFMT_ERR_UNSUPPORTED,
		                "AES encryption has no key slots");
	if (crypto->cipher == NULL)
		return qcf_fail(errp, ENOKEY, QCOWFMT_ERR_NO_SECRET,
		                "the image is not unlocked");
	return 0;
}

/* ---------------------------------------------------------------------- add */

static int choose_slot(const struct change *change,
                       const struct qcowfmt_key_options *options,
                       uint32_t *index, struct qcowfmt_error **errp)
{
	*index = (options->flags & QCOWFMT_KEY_SLOT) != 0 ? options->slot
	                                                  : first_free(change);
	if (*index == NO_SLOT)
		return qcf_fail(errp, ENOSPC, QCOWFMT_ERR_NO_SPACE,
		                "all %u key slots are in use", QCF_LUKS_SLOTS);
	if (slot_at(change, *index)->active &&
	    (options->flags & QCOWFMT_KEY_FORCE) == 0)
		return qcf_fail(errp, EEXIST, QCOWFMT_ERR_USAGE,
		                "key slot %" PRIu32 " is in use", *index);
	return 0;
}

static int seal(const struct change *change,
                const struct qcowfmt_key_options *options, struct new_key *key,
                struct qcowfmt_error **errp)
{
	const struct qcf_crypto *crypto = change->crypto;
	struct qcf_passphrase passphrase = { options->secret,
		                             options->secret_len };
	struct qcf_luks_seal how = { options->iter_time_ms,
		                     crypto->max_iterations };

	key->slot.stripes = QCF_LUKS_STRIPES;
	key->material = malloc(material_len(change));
	if (key->material == NULL)
		return qcf_fail_oom(errp);
	return qcf_luks_seal_slot(&crypto->header, &passphrase, &how,
	                          crypto->master_key.bytes, &key->slot,
	                          key->material, errp);
}

/*
 * Material does not depend on the slot it is in, so the same bytes stand in
 * while a slot is replaced.
 */
static int replace_key(struct change *change, uint32_t index,
                       const struct new_key *key, struct qcowfmt_error **errp)
{
	uint32_t stand_in = first_free(change);
	int ret = 0;

	if (stand_in != NO_SLOT)
		ret = put_key(change, stand_in, key, errp);
	if (ret == 0)
		ret = deactivate(change, UINT32_C(1) << index, errp);
	if (ret == 0)
		ret = put_key(change, index, key, errp);
	if (ret == 0 && stand_in != NO_SLOT)
		ret = drop_keys(change, UINT32_C(1) << stand_in, errp);
	return ret;
}

int qcf_crypto_add_key(struct qcf_crypto *crypto,
                       struct qcowfmt_storage *storage,
                       struct qcf_poison *poison,
                       const struct qcowfmt_key_options *options,
                       struct qcowfmt_error **errp)
{
	struct change change = { crypto, storage, poison };
	struct new_key key = { 0 };
	uint32_t index = 0;
	int ret = check_common(crypto, options, errp);

	if (ret < 0)
		return ret;
	if (options->secret == NULL)
		return qcf_fail(errp, ENOKEY, QCOWFMT_ERR_NO_SECRET,
		                "a new key needs a secret");
	QCF_GUARD(&crypto->keys_lock);
	ret = choose_slot(&change, options, &index, errp);
	if (ret == 0)
		ret = seal(&change, options, &key, errp);
	if (ret == 0)
		ret = slot_at(&change, index)->active
		              ? replace_key(&change, index, &key, errp)
		              : put_key(&change, index, &key, errp);
	free(key.material);
	return ret < 0 ? ret : (int)index;
}

/* -------------------------------------------------------------------- erase */

/* Which of a set of active slots the secret opens. */
static int match_slots(struct change *change,
                       const struct qcowfmt_key_options *options,
                       uint32_t candidates, uint32_t *set,
                       struct qcowfmt_error **errp)
{
	QCF_AUTO_SECRET struct qcf_secret master_key = { 0 };
	struct qcf_passphrase passphrase = { options->secret,
		                             options->secret_len };
	int ret = qcf_secret_init(&master_key, change->crypto->header.key_len,
	                          errp);

	*set = 0;
	for (uint32_t i = 0; ret >= 0 && i < QCF_LUKS_SLOTS; i++) {
		if (!has_slot(candidates, i))
			continue;
		ret = qcf_crypto_try_slot(change->crypto, change->storage, i,
		                          &passphrase, master_key.bytes, errp);
		if (ret > 0)
			*set |= UINT32_C(1) << i;
	}
	if (ret < 0)
		return ret;
	return *set != 0
	               ? 0
	               : qcf_fail(errp, EKEYREJECTED, QCOWFMT_ERR_WRONG_SECRET,
	                          "the secret opens no key slot");
}

static int choose_slots(struct change *change,
                        const struct qcowfmt_key_options *options,
                        uint32_t *set, struct qcowfmt_error **errp)
{
	uint32_t active = active_slots(change);
	bool by_slot = (options->flags & QCOWFMT_KEY_SLOT) != 0;
	int ret = 0;

	*set = by_slot ? UINT32_C(1) << options->slot : active;
	if (by_slot && (active & *set) == 0)
		return qcf_fail(errp, ENOENT, QCOWFMT_ERR_USAGE,
		                "key slot %" PRIu32 " is not in use",
		                options->slot);
	if (options->secret != NULL)
		ret = match_slots(change, options, *set, set, errp);
	if (ret == 0 && *set == active &&
	    (options->flags & QCOWFMT_KEY_FORCE) == 0)
		return qcf_fail(errp, EPERM, QCOWFMT_ERR_USAGE,
		                "no key would be left to open the image with");
	return ret;
}

int qcf_crypto_erase_key(struct qcf_crypto *crypto,
                         struct qcowfmt_storage *storage,
                         struct qcf_poison *poison,
                         const struct qcowfmt_key_options *options,
                         struct qcowfmt_error **errp)
{
	struct change change = { crypto, storage, poison };
	uint32_t set = 0;
	int ret = check_common(crypto, options, errp);

	if (ret < 0)
		return ret;
	if (options->iter_time_ms != 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "an iteration time is for new keys");
	if (options->secret == NULL && (options->flags & QCOWFMT_KEY_SLOT) == 0)
		return qcf_fail(errp, EINVAL, QCOWFMT_ERR_USAGE,
		                "which key to erase: want a slot or a secret");
	QCF_GUARD(&crypto->keys_lock);
	ret = choose_slots(&change, options, &set, errp);
	return ret < 0 ? ret : drop_keys(&change, set, errp);
}
