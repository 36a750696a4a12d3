/* SPDX-License-Identifier: MIT */
/* text.h - text that a terminal or a log can be shown */
#ifndef QCF_TEXT_H
#define QCF_TEXT_H

/*
 * Replace by '?', byte for byte, what may do more than show a character: control
 * characters (also line ends, and those of ISO 8859), what changes the direction
 * of text or ends a line in Unicode, and bytes that are not UTF-8.
 */
void qcf_text_clean(char *text);

#endif
