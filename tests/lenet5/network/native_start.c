/* The few functions of a C library that native_driver.c needs, for Linux on a 64-bit Arm. Zig would
 * build a whole library, which takes a minute. Compile with -fno-builtin, link with -nostdlib. */

#include <stdarg.h>
#include <stddef.h>

int main(void);

static void system_call(long number, long first, const void *second, size_t third) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = first;
    register const void *x1 __asm__("x1") = second;
    register size_t x2 __asm__("x2") = third;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
}

_Noreturn static void end(int status) {
    for (;;) system_call(93, status, NULL, 0); /* exit */
}

void _start(void) { end(main()); }

_Noreturn void abort(void) { end(134); }

void *malloc(size_t size) {
    static _Alignas(64) char memory[256 << 20];
    static size_t used;
    void *start = memory + used;
    used += (size + 63) / 64 * 64;
    if (used > sizeof memory) abort();
    return start;
}

void free(void *memory) { (void)memory; }

void *memset(void *memory, int value, size_t count) {
    for (size_t i = 0; i < count; i++) ((char *)memory)[i] = (char)value;
    return memory;
}

/* For the one call of native_driver.c: its format has 16 hexadecimal digits and a line break. */
int printf(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    unsigned long long number = va_arg(arguments, unsigned long long);
    va_end(arguments);
    char text[17];
    for (int i = 15; i >= 0; i--, number >>= 4) text[i] = "0123456789abcdef"[number & 15];
    text[16] = '\n';
    system_call(64, 1, text, sizeof text); /* write */
    return sizeof text;
}
