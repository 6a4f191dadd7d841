// Package weights reads networks that others trained and writes ours for others.
//
// # In
//
// Load reads a state dict: tensors by name. It looks at the bytes, not at the file's ending, and
// knows safetensors and the three formats that PyTorch's torch.save has had:
//
//	zip     since 1.6 (2020): data.pkl, the pickled names and shapes, beside one record per storage
//	stream  0.1.10 to 1.5: five pickles one after the other, then the storages
//	tar     before (2017): the members sys_info, pickle, tensors, storages
//
// torchvision's first ResNet files, such as resnet50-19c8e357.pth, are of the last kind. Values of
// any numeric type become float32; strided tensors become row-major; the prefixes that wrappers
// put before names ("module.", "_orig_mod.") are taken off; a state dict inside a training
// checkpoint ({"state_dict": ...}) is found.
//
// Apply puts tensors into a network by name. Nothing is written unless everything fits, and the
// error lists everything that does not.
//
// # Trust
//
// A pickle is a program. No instruction of it can run code here: a class that is not one of the few
// that tensors are made of becomes an inert placeholder, which accepts everything and does nothing.
// A gate before the pickle machine (a library, which believes what lengths say) lets only complete
// instructions of known kinds with plausible lengths through, at most 4 MiB and half a million of
// them. Storages are read only as far as the file really has them, and tensors hold no more values
// than the file has bytes, whatever shapes and strides claim. A hostile file is an error, never a panic.
//
// # Out
//
// Export writes a network to one file, whole or not at all: as safetensors with the names that it
// has here, torchvision's for ResNets; or as ONNX, which holds network, head and L2 normalisation,
// takes normalised images and gives unit embeddings. A network here is a short list of layers of
// nine kinds, so the ONNX graph is written message by message, without generated code, and
// parameters stream from the flat block to the file without a copy of the whole.
package weights
