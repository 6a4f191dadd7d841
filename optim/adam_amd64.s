#include "textflag.h"

// func updateAVX(c *adamConstants, params, grads, mean, square *float32, n int)
TEXT ·updateAVX(SB), NOSPLIT, $0-48
	MOVQ c+0(FP), AX
	MOVQ params+8(FP), DI
	MOVQ grads+16(FP), SI
	MOVQ mean+24(FP), R8
	MOVQ square+32(FP), R9
	MOVQ n+40(FP), CX
	VBROADCASTSS 0(AX), Y0  // shrink
	VBROADCASTSS 4(AX), Y1  // decay
	VBROADCASTSS 8(AX), Y2  // keep1
	VBROADCASTSS 12(AX), Y3 // new1
	VBROADCASTSS 16(AX), Y4 // keep2
	VBROADCASTSS 20(AX), Y5 // new2
	VBROADCASTSS 24(AX), Y6 // rate
	VBROADCASTSS 28(AX), Y7 // correction
	VBROADCASTSS 32(AX), Y8 // eps
	XORQ BX, BX
	SHLQ $2, CX

next:
	CMPQ BX, CX
	JGE  done
	VMOVUPS (DI)(BX*1), Y9
	VMULPS Y9, Y1, Y11
	VADDPS (SI)(BX*1), Y11, Y10 // g = grad + decay x p
	VMULPS Y9, Y0, Y9           // p = shrink x p
	VMULPS (R8)(BX*1), Y2, Y11
	VMULPS Y10, Y3, Y12
	VADDPS Y12, Y11, Y11        // m = keep1 x mean + new1 x g
	VMOVUPS Y11, (R8)(BX*1)
	VMULPS (R9)(BX*1), Y4, Y12
	VMULPS Y10, Y5, Y13
	VMULPS Y10, Y13, Y13
	VADDPS Y13, Y12, Y12        // v = keep2 x square + new2 x g x g
	VMOVUPS Y12, (R9)(BX*1)
	VSQRTPS Y12, Y12
	VDIVPS Y7, Y12, Y12
	VADDPS Y8, Y12, Y12         // sqrt(v) / correction + eps
	VMULPS Y11, Y6, Y11
	VDIVPS Y12, Y11, Y11
	VSUBPS Y11, Y9, Y9          // p - rate x m / that
	VMOVUPS Y9, (DI)(BX*1)
	ADDQ $32, BX
	JMP  next

done:
	VZEROUPPER
	RET
