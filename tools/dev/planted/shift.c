/* SPDX-License-Identifier: MIT */
/* shift.c - shifts too far, which the undefined-behaviour checker must notice */
int main(int argc, char **argv)
{
	volatile int bits = 63 + argc;
	volatile unsigned long long one = 1;

	(void)argv;
	return (one << bits) == 12345;
}
