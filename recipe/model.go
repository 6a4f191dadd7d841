package recipe

// Model names the network.
type Model struct {
	Arch       string // "conv4", "resnet18", "resnet34", "resnet50" or "resnet101"
	Dim        int    // width of the embedding
	Norm       string // "group" (independent of the batch) or "batch"
	Width      int    // channels of the first block
	BatchNorm  string // "live" or "frozen"; without meaning for group norm
	Cut        string // layer or stage after which feature maps are mixed, such as "layer3"; empty for the last before the pooling
	Pretrained string // safetensors or PyTorch (.pth) file with torchvision's parameter names; empty for a random start
}

// Engine names what computes the network.
type Engine struct {
	Name      string // "auto", "gorgonia", "onednn" or "cuda"
	Precision string // of activations and products: "f32", "tf32" (products; cuda) or "bf16" (onednn, cuda); weights and gradients are float32
	Threads   int    // cores of one worker; 0 shares the machine's cores among its workers
}

func defaultModel() Model {
	return Model{Arch: "conv4", Dim: 128, BatchNorm: "live"}
}

func defaultEngine() Engine { return Engine{Name: "auto", Precision: "f32"} }

func (m *Model) fields() []field {
	return []field{
		choice("arch", &m.Arch, "conv4", "resnet18", "resnet34", "resnet50", "resnet101"),
		intField("dim", &m.Dim, 2, 8192),
		choice("norm", &m.Norm, "group", "batch"),
		{key: "width", value: &m.Width, valid: "a multiple of 8 from 8 to 512",
			ok: func() bool { return m.Width >= 8 && m.Width <= 512 && m.Width%8 == 0 }},
		choice("batchnorm", &m.BatchNorm, "live", "frozen"),
		{key: "cut", value: &m.Cut, valid: "text", outside: m.Cut == ""}, // as if recipes did not have it
		textField("pretrained", &m.Pretrained),
	}
}

func (e *Engine) fields() []field {
	return []field{
		choice("name", &e.Name, "auto", "gorgonia", "onednn", "cuda"),
		choice("precision", &e.Precision, "f32", "tf32", "bf16"),
		intField("threads", &e.Threads, 0, 1024).outsideRun(),
	}
}
