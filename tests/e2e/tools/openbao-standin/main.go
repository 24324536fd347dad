// A server for the tests where no OpenBao is at hand: the core of HashiCorp Vault 1.14.0, the code that OpenBao forked
// from, behind the part of `bao`'s command line that the tests use:
//
//	bao server -config=FILE
//	bao version
//
// FILE is an OpenBao configuration: tcp listeners, storage raft or inmem, api_addr, cluster_addr, log_level and the lease
// times; other settings are ignored. It has the kv and the kubernetes plugins and the file audit device.
//
// Where it differs from OpenBao 2.6:
//   - no namespaces: X-Vault-Namespace is ignored, and sys/namespaces answers 404;
//   - a standby answers no read itself: it forwards to the active node, and is never stale;
//   - LIST of a folder below sys/policies/acl answers 405: only the whole list is there;
//   - no audit devices in the configuration file, only by sys/audit.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-kms-wrapping/v2/aead"
	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	kv "github.com/hashicorp/vault-plugin-secrets-kv"
	"github.com/hashicorp/vault/audit"
	"github.com/hashicorp/vault/builtin/audit/file"
	"github.com/hashicorp/vault/command/server"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/physical/raft"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
	"github.com/hashicorp/vault/vault/seal"
	"github.com/hashicorp/vault/version"
)

var storages = map[string]physical.Factory{
	"inmem": inmem.NewInmem,
	"raft":  raft.NewRaftBackend,
}

// builtins tells the core which plugins are compiled in: without it, mounting one panics.
type builtins struct{}

func (builtins) factory(name string, kind consts.PluginType) logical.Factory {
	switch {
	case name == "kv" && kind == consts.PluginTypeSecrets:
		return kv.Factory
	case name == "kubernetes" && kind == consts.PluginTypeCredential:
		return kubernetes.Factory
	}
	return nil
}

func (b builtins) Contains(name string, kind consts.PluginType) bool {
	return b.factory(name, kind) != nil
}

func (b builtins) Get(name string, kind consts.PluginType) (func() (interface{}, error), bool) {
	factory := b.factory(name, kind)
	return func() (interface{}, error) { return factory, nil }, factory != nil
}

func (builtins) Keys(kind consts.PluginType) []string {
	switch kind {
	case consts.PluginTypeSecrets:
		return []string{"kv"}
	case consts.PluginTypeCredential:
		return []string{"kubernetes"}
	}
	return nil
}

func (b builtins) DeprecationStatus(name string, kind consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Supported, b.Contains(name, kind)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bao stand-in:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 && args[0] == "version" {
		fmt.Printf("OpenBao v%s-standin (the core of HashiCorp Vault)\n", version.Version)
		return nil
	}
	if len(args) != 2 || args[0] != "server" || !strings.HasPrefix(args[1], "-config=") {
		return errors.New("usage: bao server -config=FILE | version")
	}
	config, err := server.LoadConfigFile(strings.TrimPrefix(args[1], "-config="))
	if err != nil {
		return err
	}
	return serve(config)
}

func serve(config *server.Config) error {
	logger := hclog.NewInterceptLogger(&hclog.LoggerOptions{
		Output: os.Stderr,
		Level:  hclog.LevelFromString(config.LogLevel),
	})
	if config.Storage == nil {
		return errors.New("no storage in the configuration")
	}
	newStorage, ok := storages[config.Storage.Type]
	if !ok {
		return fmt.Errorf("storage %q is not built in", config.Storage.Type)
	}
	storage, err := newStorage(config.Storage.Config, logger.Named("storage"))
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	coreConfig := &vault.CoreConfig{
		RawConfig:                config,
		Physical:                 storage,
		StorageType:              config.Storage.Type,
		RedirectAddr:             config.Storage.RedirectAddr,
		Seal:                     vault.NewDefaultSeal(seal.NewAccess(aead.NewShamirWrapper())),
		AuditBackends:            map[string]audit.Factory{"file": file.Factory},
		CredentialBackends:       map[string]logical.Factory{"kubernetes": kubernetes.Factory},
		LogicalBackends:          map[string]logical.Factory{"kv": kv.Factory},
		BuiltinRegistry:          builtins{},
		Logger:                   logger,
		DisableMlock:             true,
		DefaultLeaseTTL:          config.DefaultLeaseTTL,
		MaxLeaseTTL:              config.MaxLeaseTTL,
		DisableKeyEncodingChecks: config.DisablePrintableCheck,
	}
	if ha, ok := storage.(physical.HABackend); ok {
		coreConfig.HAPhysical = ha
		coreConfig.ClusterAddr = config.Storage.ClusterAddr
	}
	core, err := vault.NewCore(coreConfig)
	if err != nil {
		return fmt.Errorf("core: %w", err)
	}
	listeners, clusterAddrs, err := listen(config)
	if err != nil {
		return err
	}
	// Before the first unseal: raft can elect nobody without.
	core.SetClusterListenerAddrs(clusterAddrs)
	core.SetClusterHandler(vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core}))
	if config.Storage.Type == "raft" {
		if err := core.InitiateRetryJoin(context.Background()); err != nil {
			return fmt.Errorf("raft join: %w", err)
		}
	}
	for listener, settings := range listeners {
		handler := vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: core, ListenerConfig: settings})
		go (&http.Server{
			Handler:           handler,
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       30 * time.Second,
			IdleTimeout:       5 * time.Minute,
			ErrorLog:          logger.StandardLogger(nil),
		}).Serve(listener)
	}
	logger.Info("stand-in started", "vault", version.Version, "storage", config.Storage.Type)

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	for listener := range listeners {
		listener.Close()
	}
	return core.Shutdown()
}

// listen opens the listeners of the configuration, and says where the nodes of a cluster are to talk to this one: at
// cluster_address, else one port above.
func listen(config *server.Config) (map[net.Listener]*configutil.Listener, []*net.TCPAddr, error) {
	listeners := map[net.Listener]*configutil.Listener{}
	var clusterAddrs []*net.TCPAddr
	for _, settings := range config.Listeners {
		listener, _, _, err := server.NewListener(settings, os.Stderr, nil)
		if err != nil {
			return nil, nil, fmt.Errorf("listener %s: %w", settings.Address, err)
		}
		if settings.MaxRequestSize == 0 {
			settings.MaxRequestSize = vaulthttp.DefaultMaxRequestSize
		}
		if settings.MaxRequestDuration == 0 {
			settings.MaxRequestDuration = vault.DefaultMaxRequestDuration
		}
		listeners[listener] = settings
		clusterAddr := &net.TCPAddr{}
		if settings.ClusterAddress != "" {
			if clusterAddr, err = net.ResolveTCPAddr("tcp", settings.ClusterAddress); err != nil {
				return nil, nil, fmt.Errorf("cluster_address: %w", err)
			}
		} else if own, ok := listener.Addr().(*net.TCPAddr); ok {
			clusterAddr = &net.TCPAddr{IP: own.IP, Port: own.Port + 1}
		}
		clusterAddrs = append(clusterAddrs, clusterAddr)
	}
	return listeners, clusterAddrs, nil
}
