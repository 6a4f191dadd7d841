#include "textflag.h"

// ROW adds one row's element times 16 queries to the sums LO and HI. Multiply and add are separate
// instructions so that the rounding is that of the plain kernel.
#define ROW(REG, LO, HI) \
	VBROADCASTSS (REG)(AX*4), Y14 \
	VMULPS       Y12, Y14, Y15    \
	VADDPS       Y15, LO, LO      \
	VMULPS       Y13, Y14, Y14    \
	VADDPS       Y14, HI, HI

// STORE writes 16 sums and moves to the next row of dst.
#define STORE(LO, HI) \
	VMOVUPS LO, (DI)   \
	VMOVUPS HI, 32(DI) \
	ADDQ    SI, DI

// func dotSixRows(dst *float32, stride int, rows, panel *float32, dim int)
TEXT ·dotSixRows(SB), NOSPLIT, $0-40
	MOVQ dst+0(FP), DI
	MOVQ stride+8(FP), SI
	MOVQ rows+16(FP), R8
	MOVQ panel+24(FP), DX
	MOVQ dim+32(FP), CX
	SHLQ $2, SI
	LEAQ (R8)(CX*4), R9
	LEAQ (R9)(CX*4), R10
	LEAQ (R10)(CX*4), R11
	LEAQ (R11)(CX*4), R12
	LEAQ (R12)(CX*4), R13
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	VXORPS Y2, Y2, Y2
	VXORPS Y3, Y3, Y3
	VXORPS Y4, Y4, Y4
	VXORPS Y5, Y5, Y5
	VXORPS Y6, Y6, Y6
	VXORPS Y7, Y7, Y7
	VXORPS Y8, Y8, Y8
	VXORPS Y9, Y9, Y9
	VXORPS Y10, Y10, Y10
	VXORPS Y11, Y11, Y11
	XORQ AX, AX

next:
	VMOVUPS (DX), Y12
	VMOVUPS 32(DX), Y13
	ROW(R8, Y0, Y1)
	ROW(R9, Y2, Y3)
	ROW(R10, Y4, Y5)
	ROW(R11, Y6, Y7)
	ROW(R12, Y8, Y9)
	ROW(R13, Y10, Y11)
	ADDQ $64, DX
	INCQ AX
	CMPQ AX, CX
	JLT  next

	STORE(Y0, Y1)
	STORE(Y2, Y3)
	STORE(Y4, Y5)
	STORE(Y6, Y7)
	STORE(Y8, Y9)
	STORE(Y10, Y11)
	VZEROUPPER
	RET

// func dotOneRow(dst, row, panel *float32, dim int)
TEXT ·dotOneRow(SB), NOSPLIT, $0-32
	MOVQ dst+0(FP), DI
	MOVQ row+8(FP), R8
	MOVQ panel+16(FP), DX
	MOVQ dim+24(FP), CX
	VXORPS Y0, Y0, Y0
	VXORPS Y1, Y1, Y1
	XORQ AX, AX

next:
	VMOVUPS (DX), Y12
	VMOVUPS 32(DX), Y13
	ROW(R8, Y0, Y1)
	ADDQ $64, DX
	INCQ AX
	CMPQ AX, CX
	JLT  next

	VMOVUPS Y0, (DI)
	VMOVUPS Y1, 32(DI)
	VZEROUPPER
	RET
