/* tests/distill/cortex_m/main.c - a C export on a bare Cortex-M: vector table, start, a comparison with the answers
 * of the runtime, and the export's own self test. Talks by semihosting (Arm, "Semihosting for AArch32 and AArch64": 0x04
 * write, 0x18 exit). */
#include <stdint.h>
#include <string.h>

#include SAMPLE

extern uint32_t stack_top, data_from, data_begin, data_end, bss_begin, bss_end;

static int semihost(int op, const void *argument)
{
    register int r0 __asm__("r0") = op;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void say_and_stop(const char *text, int good)
{
    semihost(0x04, text);
    semihost(0x18, (const void *)(good ? 0x20026u : 0x20024u)); /* ADP_Stopped_ApplicationExit, _InternalError */
    for (;;)
        ;
}

static void fault(void) { say_and_stop("fault\n", 0); }

void start(void);
void start(void)
{
    float scores[OUTPUT];
    memcpy(&data_begin, &data_from, (size_t)((char *)&data_end - (char *)&data_begin));
    memset(&bss_begin, 0, (size_t)((char *)&bss_end - (char *)&bss_begin));
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* CPACR: the floating-point unit on */
    __asm__ volatile("dsb\n\tisb");
#endif
    for (int i = 0; i < IMAGES; i++) {
        RUN(images + i * INPUT, scores);
        if (memcmp(scores, answers + i * (int)sizeof scores, sizeof scores) != 0)
            say_and_stop("another answer than the runtime's\n", 0);
    }
    if (SELFTEST() != 0)
        say_and_stop("the self test sees another answer\n", 0);
    say_and_stop("equal\n", 1);
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top,          (const void *)start, (const void *)fault, (const void *)fault,
    (const void *)fault, (const void *)fault, (const void *)fault
};
