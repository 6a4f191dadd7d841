// Package model describes networks as data: layers, the shapes they see, and where each parameter
// lies in one flat block.
//
// A network has two stages. The trunk maps images to features (for a ResNet the output of layer4,
// before pooling); the head maps features to unit embeddings. Features can be mixed at the cut.
// Each stage is a list of layers; a Residual holds two lists of its own. A layer is a plain struct
// without methods that compute: an engine switches over the kinds it knows.
//
// All parameters of a network are views of one []float32, all running statistics of another. The
// order is canonical: trunk first, layers in forward order, a residual's main branch before its
// shortcut, weight before bias. It is the order on the wire, in checkpoints and of the optimizer,
// so each of those is one loop. Names follow torchvision for ResNets ("layer1.0.conv1.weight"), so
// its weights can be read by name.
//
// Tensors are row-major: images and features N x C x H x W, convolution weights
// Out x In x Kernel x Kernel, linear weights Out x In.
package model
