// Context switch between fibres: callee-saved registers only (System V x86-64).
    .text
    .globl emu_switch
    .hidden emu_switch
    .type emu_switch, @function
// void emu_switch(void** saved_stack_pointer, void* next_stack_pointer)
emu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emu_switch, .-emu_switch

    .globl emu_jump
    .hidden emu_jump
    .type emu_jump, @function
// void emu_jump(void* next_stack_pointer): abandons the running stack
emu_jump:
    movq %rdi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size emu_jump, .-emu_jump
    .section .note.GNU-stack, "", @progbits
