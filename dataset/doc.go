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
// mapped to dense numbers in ascending order. "folder" is one folder per class, either under train/
// and test/ or in one folder whose first half of the sorted class names is the training split, the
// convention of CUB-200 and Cars196. "auto" finds out. In both, the order of Images is a function of
// the files alone.
//
// # Invariants
//
//   - Nothing read from outside makes the package panic or allocate without bound: index lines,
//     file bytes and pixels are limited before memory is spent on them.
//   - An augmented image is a function of the source pixels, the Transform and the *draw.Rand it is
//     given, which the caller keys by (seed, epoch, image, use); no state is carried between images.
//   - Decoded images may be shared between goroutines and must not be written to.
//
// # Cost
//
// On one core, a 64x64 JPEG decodes in 0.05 ms, a training crop of it to 48x48 takes 0.09 ms and an
// evaluation crop 0.07 ms; a training crop of 500x500 to 224x224 takes 3 ms (go test -bench . ./dataset).
// Synth draws an image of 64x64 in 2 ms. A Cache keeps decoded pixels, 4 bytes each, within a budget.
package dataset
