// Types of the kernels' parameters. Go has the same structs in types.go; a test compares the sizes.
#pragma once

typedef long long i64;

// bf16 is the upper half of a float32.
struct bf16 {
    unsigned short bits;
};

// Normalisation is what crop applies to bytes that were scaled to [0, 1].
struct Normalisation {
    float mean[3], scale[3];
};

// Window is a pooling of n x h x w x c to n x oh x ow x c.
struct Window {
    int n, h, w, c, oh, ow, kernel, stride, pad;
};

// AdamGroup holds the constants of optim.adam for a group of parameters.
struct AdamGroup {
    float shrink, decay, keep1, new1, keep2, new2, rate, correction, eps;
};

// SGDGroup holds those of optim.sgd.
struct SGDGroup {
    float rate, decay;
};

// A side of a loss form: positives or negatives.
struct LossSide {
    int rho;            // 0: x, 1: max(x, 0), 2: e^x, of x = slope (s - shift)
    int sigma;          // 0: x, 1: scale log(1 + x), 2: scale log x, and 0 for a sum without weight
    float slope, shift;
    float scale;
};

// LossForm is a metrix.Form that is a sum over pairs: table row by numbers instead of functions.
struct LossForm {
    LossSide positive, negative;
    int hinge;     // tau is max(x, 0)
    int all;       // the negative sum runs over positives too
    int mine;      // clean pairs are chosen by the multi-similarity miner
    float epsilon; // of the miner
};

// LossMix is what one step mixes.
struct LossMix {
    int kind;      // 0: nothing, 1: positives with negatives, 2: the anchor with negatives
    float weight;  // w
    float lambda;
};

// LossAnchor is one anchor of the launch.
struct LossAnchor {
    int row;     // its row in h, and in the matrix of anchors
    int self;    // its own position among the candidates, or -1
    int lo, hi;  // positions of its class
    int counted; // 0: only counted for a mean over non-zero terms, gets no gradient
    int id;      // with mixed rows: what first is compared with; -1 for proxies
    int r0, r1;  // with mixed rows: those of its class
    int slot;    // with mixed rows: where their similarities lie
};

// LossRow is the range of anchors of a candidate's class.
struct LossRow {
    int a0, a1;
};

// LossTerm holds the sums of an anchor: clean positive, clean negative, mixed positive, mixed negative. A sum
// stands for value e^log; log is 0 where terms are not exponentials.
struct LossTerm {
    float value[4], log[4];
    float bound[2]; // the miner's: positives below, negatives above
    int count[4];   // terms above 0
};

// LossSlope is the derivative of the loss by the four values, weights and reduction included.
struct LossSlope {
    float by[4];
};

// LossReduction says what the parts are multiplied with.
struct LossReduction {
    double share;     // 1 / anchors of the global batch
    double factor[4]; // of the four sums' sigmas
    int nonzero;      // the factors are (1/share) / (sum of counts) instead
    int unused;
};
