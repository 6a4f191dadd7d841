package apiserver

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// patience is how long a server may take to begin.
const patience = 2 * time.Minute

// adminToken is known to nobody else: the server listens on the loopback, as long as the process lives.
const adminToken = "admin"

// Start begins an etcd and an API server that keep their files in dir, and returns how an administrator
// reaches the server once it is ready. They end with the process; there can be one of them.
func Start(dir string) (*rest.Config, error) {
	addresses, err := free(3)
	if err != nil {
		return nil, err
	}
	if err := startEtcd(filepath.Join(dir, "etcd"), addresses[0], addresses[1]); err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	key, tokens := filepath.Join(dir, "accounts.key"), filepath.Join(dir, "tokens.csv")
	if err := errors.Join(writeKey(key), os.WriteFile(tokens, []byte(adminToken+",admin,admin,system:masters\n"), 0o600)); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(addresses[2])
	if err != nil {
		return nil, err
	}
	server := app.NewAPIServerCommand()
	server.SetArgs([]string{
		"--etcd-servers=http://" + addresses[0],
		"--bind-address=127.0.0.1", "--secure-port=" + port, "--cert-dir=" + filepath.Join(dir, "certs"),
		"--authorization-mode=RBAC", "--token-auth-file=" + tokens, "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + key, "--service-account-signing-key-file=" + key, "-v=0",
	})
	ended := make(chan error, 1)
	go func() { ended <- server.Execute() }()
	cfg := &rest.Config{Host: "https://" + addresses[2], BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	return cfg, awaitReady(cfg, ended)
}

// startEtcd begins an etcd of one member for clients at an address.
func startEtcd(dir, clients, peers string) error {
	cfg := embed.NewConfig()
	cfg.Dir, cfg.LogLevel = dir, "error"
	cfg.ListenClientUrls, cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: clients}}, []url.URL{{Scheme: "http", Host: peers}}
	cfg.AdvertiseClientUrls, cfg.AdvertisePeerUrls = cfg.ListenClientUrls, cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	select {
	case <-etcd.Server.ReadyNotify():
		return nil
	case err := <-etcd.Err():
		return err
	case <-time.After(patience):
		return fmt.Errorf("it is not ready after %v", patience)
	}
}

// awaitReady asks the server until it says that it is ready.
func awaitReady(cfg *rest.Config, ended <-chan error) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err = client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx); err == nil {
			return nil
		}
		select {
		case ended := <-ended:
			return fmt.Errorf("the API server has ended: %w", ended)
		case <-ctx.Done():
			return fmt.Errorf("the API server is not ready after %v: %w", patience, err)
		case <-again.C:
		}
	}
}

// free returns addresses on the loopback that nobody listens at.
func free(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// writeKey makes a key that signs tokens of service accounts.
func writeKey(path string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return os.WriteFile(path, pem.EncodeToMemory(&block), 0o600)
}
