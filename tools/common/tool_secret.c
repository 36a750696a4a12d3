/* SPDX-License-Identifier: MIT */
/*
 * tool_secret.c - the secrets that --object defines
 *
 * Every copy of a secret is wiped: the argument as soon as it is parsed, what
 * was parsed once the secret is stored, the store when the program ends.
 * Nothing here goes through stdio, whose buffers would keep a copy.
 */
#include "tool_secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tool_error.h"
#include "tool_json_parse.h"
#include "tool_keyval.h"

/* The longest secret in base64, with a line break every 64 characters. */
#define MAX_SOURCE (QCOWFMT_MAX_SECRET / 3 * 4 + QCOWFMT_MAX_SECRET / 48 + 8)

struct secret {
	struct secret *next;
	char *id;
	size_t len;
	bool is_too_long;
	unsigned char bytes[MAX_SOURCE + 1];
};

static struct secret *secrets;

static void free_secret(struct secret *secret)
{
	free(secret->id);
	explicit_bzero(secret, sizeof(*secret));
	free(secret);
}

void qcf_secret_forget_all(void)
{
	while (secrets != NULL) {
		struct secret *next = secrets->next;

		free_secret(secrets);
		secrets = next;
	}
}

static struct secret *find(const char *id)
{
	struct secret *secret = secrets;

	while (secret != NULL && strcmp(secret->id, id) != 0)
		secret = secret->next;
	return secret;
}

/* ---------------------------------------------------------------- encodings */

/* The value of a base64 digit, or -1. */
static int digit_value(unsigned char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

static bool is_base64(const unsigned char *bytes, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if (digit_value(bytes[i]) < 0 && bytes[i] != '=' &&
		    bytes[i] != '\n')
			return false;
	}
	return true;
}

/*
 * Decode base64 where it stands.  A part of a group at the end is dropped:
 * QEMU's programs do the same, so that a secret means the same to both.
 */
static size_t decode_base64(unsigned char *bytes, size_t len)
{
	uint32_t group = 0;
	unsigned int digits = 0;
	unsigned int padding = 0;
	size_t done = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		int value = digit_value(bytes[i]);

		if (bytes[i] == '\n')
			continue;
		padding = value < 0 ? padding + 1 : 0;
		group = group << 6 | (value < 0 ? 0 : (uint32_t)value);
		if (++digits % 4 != 0)
			continue;
		bytes[done++] = (unsigned char)(group >> 16);
		if (padding < 2)
			bytes[done++] = (unsigned char)(group >> 8);
		if (padding < 1)
			bytes[done++] = (unsigned char)group;
		group = 0;
	}
	explicit_bzero(bytes + done, len - done);
	return done;
}

/* How many bytes of len a character of UTF-8 takes; 0: it is none. */
static size_t character_length(const unsigned char *c, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t value;
	size_t size;
	size_t i;

	if (c[0] < 0x80)
		return c[0] != '\0';
	size = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
	if (c[0] < 0xc2 || c[0] > 0xf4 || size > len)
		return 0;
	value = c[0] & (0x7fU >> size);
	for (i = 1; i < size; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (c[i] & 0x3fU);
	}
	if (value < least[size] || value > 0x10ffff ||
	    (value >= 0xd800 && value < 0xe000))
		return 0;
	return size;
}

static bool is_utf8(const unsigned char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t size = character_length(bytes + done, len - done);

		if (size == 0)
			return false;
		done += size;
	}
	return true;
}

/* ----------------------------------------------------------------- defining */

/* What an object definition says; the texts are those of its list. */
struct definition {
	const char *type;
	const char *id;
	const char *data;
	const char *file;
	const char *format;
};

static bool is_identifier(const char *text)
{
	if (!isalpha((unsigned char)*text))
		return false;
	for (; *text != '\0'; text++) {
		if (!isalnum((unsigned char)*text) &&
		    strchr("-._", *text) == NULL)
			return false;
	}
	return true;
}

static char *take_pair(const struct qcf_keyval *pair, struct definition *d)
{
	static const char *const refused[] = { "keyid", "iv" };

	const struct {
		const char *name;
		const char **to;
	} known[] = { { "qom-type", &d->type },
		      { "id", &d->id },
		      { "data", &d->data },
		      { "file", &d->file },
		      { "format", &d->format } };

	size_t i;

	if (*pair->key == '\0')
		return qcf_tool_printf("Invalid parameter ''");
	if (pair->is_null)
		return qcf_tool_printf("Invalid parameter type for '%s', "
		                       "expected: string",
		                       pair->key);
	if (pair->value == NULL)
		return qcf_tool_printf("Expected '=' after parameter '%s'",
		                       pair->key);
	for (i = 0; i < QCF_ARRAY_LEN(refused); i++) {
		if (strcmp(pair->key, refused[i]) == 0)
			return qcf_tool_printf("Option '%s' is not supported "
			                       "by this version",
			                       pair->key);
	}
	for (i = 0; i < QCF_ARRAY_LEN(known); i++) {
		if (strcmp(pair->key, known[i].name) == 0) {
			*known[i].to = pair->value;
			return NULL;
		}
	}
	return qcf_tool_printf("Parameter '%s' is unexpected", pair->key);
}

static char *check_type(const char *type)
{
	static const char *const others[] = {
		"authz-list",     "authz-list-file", "authz-pam",
		"authz-simple",   "iothread",        "main-loop",
		"secret_keyring", "throttle-group",  "tls-cipher-suites",
		"tls-creds-anon", "tls-creds-psk",   "tls-creds-x509",
	};
	size_t i;

	if (type == NULL)
		return qcf_tool_printf("Parameter 'qom-type' is missing");
	if (strcmp(type, "secret") == 0)
		return NULL;
	for (i = 0; i < QCF_ARRAY_LEN(others); i++) {
		if (strcmp(type, others[i]) == 0)
			return qcf_tool_printf("Object type '%s' is not "
			                       "supported by this version",
			                       type);
	}
	return qcf_tool_printf("Parameter 'qom-type' does not accept value "
	                       "'%s'",
	                       type);
}

static char *check_definition(const struct definition *d)
{
	char *reason = check_type(d->type);

	if (reason != NULL)
		return reason;
	if (d->id == NULL)
		return qcf_tool_printf("Parameter 'id' is missing");
	if (d->format != NULL && strcmp(d->format, "raw") != 0 &&
	    strcmp(d->format, "base64") != 0)
		return qcf_tool_printf("Parameter 'format' does not accept "
		                       "value '%s'",
		                       d->format);
	if (!is_identifier(d->id))
		return qcf_tool_printf(
			"Parameter 'id' expects an identifier\n"
			"Identifiers consist of letters, digits, '-', '.', "
			"'_', starting with a letter.");
	if (d->file != NULL && d->data != NULL)
		return qcf_tool_printf("'file' and 'data' are mutually "
		                       "exclusive");
	if (d->file == NULL && d->data == NULL)
		return qcf_tool_printf("Either 'file' or 'data' must be "
		                       "provided");
	if (find(d->id) != NULL)
		return qcf_tool_printf("attempt to add duplicate property '%s' "
		                       "to object (type 'container')",
		                       d->id);
	return NULL;
}

static char *take_definition(const struct qcf_keyval_list *list,
                             struct definition *d)
{
	char *reason = NULL;
	size_t i;

	for (i = 0; i < list->count && reason == NULL; i++) {
		struct qcf_keyval pair = list->items[i];

		/* What stands first without a key is the type. */
		if (i == 0 && pair.value == NULL && *pair.key != '\0' &&
		    !pair.is_null)
			d->type = pair.key;
		else
			reason = take_pair(&pair, d);
	}
	return reason != NULL ? reason : check_definition(d);
}

/* ------------------------------------------------------------------ content */

/* Read until the end of the file or of the room; or a negative errno value. */
static ssize_t read_all(int fd, unsigned char *bytes, size_t room)
{
	size_t done = 0;

	while (done < room) {
		ssize_t got = read(fd, bytes + done, room - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static char *load_file(struct secret *secret, const char *path)
{
	QCF_AUTO_FD int fd = qcf_open_fd(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	/* The quotation marks are those of the C library GLib. */
	if (fd < 0)
		return qcf_tool_printf("Unable to read %s: Failed to open file "
		                       "\342\200\234%s\342\200\235: %s",
		                       path, path, strerror(errno));
	got = read_all(fd, secret->bytes, sizeof(secret->bytes));
	if (got < 0)
		return qcf_tool_printf("Unable to read %s: %s", path,
		                       strerror((int)-got));
	secret->len = (size_t)got;
	return NULL;
}

static char *load(struct secret *secret, const struct definition *d)
{
	char *reason = NULL;

	if (d->file != NULL) {
		reason = load_file(secret, d->file);
	} else {
		secret->len = strnlen(d->data, sizeof(secret->bytes));
		memcpy(secret->bytes, d->data, secret->len);
	}
	if (reason != NULL)
		return reason;
	secret->is_too_long = secret->len > MAX_SOURCE;
	if (d->format != NULL && strcmp(d->format, "base64") == 0) {
		if (!is_base64(secret->bytes, secret->len))
			return qcf_tool_printf("Base64 data contains invalid "
			                       "characters");
		secret->len = decode_base64(secret->bytes, secret->len);
	}
	if (secret->len > QCOWFMT_MAX_SECRET)
		secret->is_too_long = true;
	return NULL;
}

static char *store(const struct definition *d)
{
	struct secret *secret = qcf_tool_alloc(sizeof(*secret));
	char *reason = load(secret, d);

	if (reason != NULL) {
		free_secret(secret);
		return reason;
	}
	if (secrets == NULL)
		(void)atexit(qcf_secret_forget_all);
	secret->id = qcf_tool_printf("%s", d->id);
	secret->next = secrets;
	secrets = secret;
	return NULL;
}

bool qcf_secret_define(char *text)
{
	struct qcf_keyval_list list = { 0 };
	struct definition d = { 0 };
	QCF_AUTO_FREE char *reason = NULL;

	if (*text == '{')
		reason = qcf_json_parse(text, &list);
	else
		qcf_keyval_append(&list, text);
	if (reason == NULL)
		reason = take_definition(&list, &d);
	if (reason == NULL)
		reason = store(&d);
	qcf_keyval_wipe(&list);
	explicit_bzero(text, strlen(text));
	if (reason != NULL)
		qcf_tool_error("%s", reason);
	return reason == NULL;
}

char *qcf_secret_find(const char *id, const void **bytes, size_t *len)
{
	const struct secret *secret = find(id);

	if (secret == NULL)
		return qcf_tool_printf("No secret with id '%s'", id);
	if (secret->is_too_long)
		return qcf_tool_printf("Secret '%s' is longer than %d bytes",
		                       id, QCOWFMT_MAX_SECRET);
	if (!is_utf8(secret->bytes, secret->len))
		return qcf_tool_printf("Data from secret %s is not valid UTF-8",
		                       id);
	*bytes = secret->bytes;
	*len = secret->len;
	return NULL;
}
