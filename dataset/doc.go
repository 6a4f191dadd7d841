// Package dataset opens image collections for metric learning, decodes and augments their images,
// checks them, and makes a synthetic one.
//
// # Vocabulary
//
// A Set has a training and a test Split. Metric learning is tested on classes that were never
// trained on, so the two splits share no class. A Split lists Images; an Image has a dense class
// number 0..C-1 inside its split, and a super class (a kind of product) that groups look-alikes.
//
// # Layouts
//
// "sop" is the layout of Stanford Online Products: Ebay_train.txt and Ebay_test.txt, each with a
// header and lines "image_id class_id super_class_id path"; class ids may be any size, they are
// mapped to dense numbers in ascending order. "cub" is that of CUB-200-2011 and "cars" that of Cars196,
// whose index is a MATLAB file; of both, the first half of the class ids trains, as is the
// convention. "inshop" is that of In-Shop Clothes Retrieval, whose test compares queries with a gallery:
// its test split holds the queries first (Split.QueryImages). "folder" is one folder per class, either
// under train/ and test/ or in one folder whose first half of the sorted class names is the training
// split. "auto" finds out. In all, the order of Images is a function of the files alone.
// docs/datasets.md shows them and says where the sets come from; Synth makes small ones in each layout.
//
// Another, "pack", holds what Pack made of a set: the pixels, decoded and resized once, in files that
// are mapped into memory.
//
// # Delivery
//
// Which pixels an image has is part of what decides a run, and a Delivery names it: the decoder, and
// the side to which images are resized before anything else. Set.With applies it. Where the pixels
// come from is not part of it: files and a pack deliver the same bits.
//
// # Invariants
//
//   - Nothing read from outside makes the package panic or allocate without bound: index lines,
//     file bytes and pixels are limited before memory is spent on them.
//   - An augmented image is a function of the source pixels, the Transform and the *draw.Rand it is
//     given, which the caller keys by (seed, epoch, image, use); no state is carried between images.
//   - Filters work in whole numbers and products of floats are rounded one by one, so that results do
//     not depend on the processor.
//   - Decoded images may be shared between goroutines and must not be written to.
//
// # Cost
//
// On one core of a Zen 4, a training crop of 64x64 to 48x48 takes 0.02 ms and of 500x500 to 224x224
// 0.64 ms, changes of colour half as much again; from a pack of side 256 a core delivers 3400 crops of 224x224 a
// second, from JPEG files of 500x500 180 with Go's decoder and 400 with libjpeg-turbo (bench/data.sh).
// Synth draws an image of 64x64 in 2 ms. A Cache keeps decoded pixels, 4 bytes each, within a budget.
package dataset
