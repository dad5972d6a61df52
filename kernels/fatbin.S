/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 *
 * The contents of FILE, compiled kernels, as the array NAME.
 */

    .section .rodata
    .globl NAME
    .hidden NAME
    .balign 64
NAME:
    .incbin FILE
    .balign 8

    .section .note.GNU-stack, "", %progbits
