/* SPDX-License-Identifier: MIT */
/* img_create_encryption.c - the options "encryption" and "encrypt.*" */
#include "img_create_encryption.h"

#include <stddef.h>
#include <string.h>

#include "tool_error.h"
#include "tool_secret.h"

/* An option that only LUKS has, and the texts it can be. */
struct luks_option {
	const char *name; /* without "encrypt." */
	const char *const *choices;
	size_t count;
	size_t member; /* of struct qcowfmt_encryption_options */
};

static const char *const ciphers[] = {
	"aes-128",     "aes-192",     "aes-256",     "des",
	"3des",        "cast5-128",   "serpent-128", "serpent-192",
	"serpent-256", "twofish-128", "twofish-192", "twofish-256",
};
static const char *const cipher_modes[] = { "ecb", "cbc", "xts", "ctr" };
static const char *const ivgens[] = { "plain", "plain64", "essiv" };
static const char *const hashes[] = { "md5",    "sha1",   "sha224",   "sha256",
	                              "sha384", "sha512", "ripemd160" };

#define MEMBER(name) offsetof(struct qcowfmt_encryption_options, name)

/* In the order in which QEMU looks at them. */
static const struct luks_option luks_options[] = {
	{ "cipher-alg", ciphers, QCF_ARRAY_LEN(ciphers), MEMBER(cipher_alg) },
	{ "cipher-mode", cipher_modes, QCF_ARRAY_LEN(cipher_modes),
	  MEMBER(cipher_mode) },
	{ "ivgen-alg", ivgens, QCF_ARRAY_LEN(ivgens), MEMBER(ivgen_alg) },
	{ "ivgen-hash-alg", hashes, QCF_ARRAY_LEN(hashes),
	  MEMBER(ivgen_hash_alg) },
	{ "hash-alg", hashes, QCF_ARRAY_LEN(hashes), MEMBER(hash_alg) },
};

static const char iter_time[] = "encrypt.iter-time";

static const char *find_text(const struct img_create_values *values,
                             const struct luks_option *option)
{
	QCF_AUTO_FREE char *name = qcf_tool_printf("encrypt.%s", option->name);

	return qcf_create_text(values, name);
}

static bool is_choice(const struct luks_option *option, const char *text)
{
	size_t i;

	for (i = 0; i < option->count; i++) {
		if (strcmp(option->choices[i], text) == 0)
			return true;
	}
	return false;
}

static char *parse_luks(const struct img_create_values *values,
                        struct qcowfmt_encryption_options *encryption)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(luks_options); i++) {
		const struct luks_option *option = &luks_options[i];
		const char *text = find_text(values, option);

		if (text != NULL && !is_choice(option, text))
			return qcf_tool_printf("Parameter '%s' does not accept "
			                       "value '%s'",
			                       option->name, text);
		memcpy((char *)encryption + option->member, &text,
		       sizeof(text));
	}
	return NULL;
}

/* Legacy encryption knows none of the options of LUKS. */
static char *check_aes(const struct img_create_values *values)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(luks_options); i++) {
		if (find_text(values, &luks_options[i]) != NULL)
			return qcf_tool_printf("Parameter 'encrypt.%s' is "
			                       "unexpected",
			                       luks_options[i].name);
	}
	if (qcf_create_text(values, iter_time) != NULL)
		return qcf_tool_printf("Parameter '%s' is unexpected",
		                       iter_time);
	return NULL;
}

static bool has_option(const struct img_create_values *values)
{
	size_t i;

	for (i = 0; i < QCF_ARRAY_LEN(luks_options); i++) {
		if (find_text(values, &luks_options[i]) != NULL)
			return true;
	}
	return qcf_create_text(values, "encrypt.key-secret") != NULL ||
	       qcf_create_text(values, iter_time) != NULL;
}

static bool is_old_switch_on(const struct img_create_values *values)
{
	const struct img_create_value *old =
		qcf_create_value(values, "encryption");

	return old != NULL && old->number != 0;
}

char *qcf_create_encryption_check(const struct img_create_values *values)
{
	if (!is_old_switch_on(values) ||
	    qcf_create_text(values, "encrypt.format") == NULL)
		return NULL;
	return qcf_tool_printf("'encrypt.format' and its alias 'encryption' "
	                       "can't be used at the same time");
}

static char *find_format(const struct img_create_values *values,
                         const char **format)
{
	*format = qcf_create_text(values, "encrypt.format");
	if (is_old_switch_on(values))
		*format = "aes";
	if (*format == NULL && has_option(values))
		return qcf_tool_printf("Parameter 'encrypt.format' is missing");
	return NULL;
}

char *qcf_create_encryption_parse(struct img_create_values *values)
{
	struct qcowfmt_encryption_options *encryption = &values->encryption;
	const char *format;
	char *reason = find_format(values, &format);

	*encryption = (struct qcowfmt_encryption_options){
		.struct_size = sizeof(*encryption),
	};
	if (reason != NULL || format == NULL)
		return reason;
	if (strcmp(format, "aes") == 0) {
		encryption->encryption = QCOWFMT_ENCRYPTION_AES;
		return check_aes(values);
	}
	if (strcmp(format, "luks") != 0)
		return qcf_tool_printf("Parameter 'format' does not accept "
		                       "value '%s'",
		                       format);
	if (values->format == QCOWFMT_FORMAT_QCOW)
		return qcf_tool_printf("Unsupported encryption format");
	encryption->encryption = QCOWFMT_ENCRYPTION_LUKS;
	return parse_luks(values, encryption);
}

/* No time at all means the shortest; the library takes 0 for its default. */
static char *take_time(const struct img_create_values *values,
                       struct qcowfmt_encryption_options *encryption)
{
	const struct img_create_value *value =
		qcf_create_value(values, iter_time);

	if (value == NULL)
		return NULL;
	if (value->number > UINT32_MAX)
		return qcf_tool_printf("Value '%s' is too large for parameter "
		                       "'%s'",
		                       value->text, iter_time);
	encryption->iter_time_ms = (uint32_t)qcf_max(value->number, 1);
	return NULL;
}

char *qcf_create_encryption_secret(struct img_create_values *values)
{
	struct qcowfmt_encryption_options *encryption = &values->encryption;
	const char *id = qcf_create_text(values, "encrypt.key-secret");
	const char *cipher = encryption->cipher_alg;
	char *reason;

	if (encryption->encryption == QCOWFMT_ENCRYPTION_NONE)
		return NULL;
	if (id == NULL)
		return qcf_tool_printf("Parameter 'encrypt.key-secret' is "
		                       "required for cipher");
	reason = qcf_secret_find(id, &encryption->secret,
	                         &encryption->secret_len);
	if (reason == NULL && cipher != NULL &&
	    (strcmp(cipher, "des") == 0 || strcmp(cipher, "3des") == 0))
		reason =
			qcf_tool_printf("Algorithm '%s' not supported", cipher);
	return reason != NULL ? reason : take_time(values, encryption);
}
