/* SPDX-License-Identifier: MIT */
/*
 * raii.cpp - the header serves C++17 as it is, without a wrapper of ours
 *
 * Handles go into std::unique_ptr, errors become exceptions, and a lambda
 * without captures is a finding callback.
 */
#include <qcowfmt.h>

#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

struct Closer {
	void operator()(qcowfmt_image *image) const
	{
		qcowfmt_close(image, nullptr);
	}
};

using Image = std::unique_ptr<qcowfmt_image, Closer>;

[[noreturn]] void raise(qcowfmt_error *error)
{
	const std::string text = qcowfmt_error_message(error);

	qcowfmt_error_free(error);
	throw std::runtime_error(text);
}

Image open_new(const char *path)
{
	qcowfmt_create_options create{};
	create.struct_size = sizeof(create);
	create.virtual_size = 1 << 20;
	qcowfmt_open_options open{};
	open.struct_size = sizeof(open);
	open.format = QCOWFMT_FORMAT_QCOW2;
	open.flags = QCOWFMT_OPEN_READ_WRITE;
	qcowfmt_image *image = nullptr;
	qcowfmt_error *error = nullptr;

	if (qcowfmt_create_file(path, &create, &error) < 0 ||
	    qcowfmt_open_file(path, &open, &image, &error) < 0)
		raise(error);
	return Image{ image };
}

unsigned findings(qcowfmt_image *image)
{
	qcowfmt_check_result result{};
	result.struct_size = sizeof(result);
	qcowfmt_error *error = nullptr;
	unsigned count = 0;
	const auto count_one = [](void *opaque, uint32_t, uint64_t,
	                          const char *) {
		++*static_cast<unsigned *>(opaque);
	};

	if (qcowfmt_check(image, 0, count_one, &count, &result, &error) < 0)
		raise(error);
	return count;
}

void use(const char *path)
{
	const Image image = open_new(path);
	const std::vector<char> out(100000, 'y');
	std::vector<char> in(out.size());
	qcowfmt_error *error = nullptr;

	if (qcowfmt_pwrite(image.get(), out.data(), out.size(), 777, &error) <
	            0 ||
	    qcowfmt_pread(image.get(), in.data(), in.size(), 777, &error) < 0 ||
	    qcowfmt_flush(image.get(), &error) < 0)
		raise(error);
	if (in != out)
		throw std::runtime_error("read back something else");
	if (findings(image.get()) != 0)
		throw std::runtime_error("a new image has findings");
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	try {
		use(argv[1]);
	} catch (const std::exception &failure) {
		std::fprintf(stderr, "%s\n", failure.what());
		return 1;
	}
	return 0;
}
