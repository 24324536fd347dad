// gitops reads an object from standard input, as JSON, and prints how it is:
//
//	gitops kstatus         by sigs.k8s.io/cli-utils, which Flux waits by
//	gitops health FILE     by a health check of Argo CD: Lua, run as Argo CD runs it
//	gitops version
package main

import (
	"encoding/json"
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// Set by the linker.
var version = "unknown"

type answer struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "version":
		fmt.Println("gitops " + version)
		return nil
	case len(args) == 1 && args[0] == "kstatus":
		return with(kstatus)
	case len(args) == 2 && args[0] == "health":
		script, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		return with(func(object map[string]any) (answer, error) { return health(string(script), object) })
	}
	return fmt.Errorf("usage: gitops version | kstatus | health FILE")
}

func with(read func(map[string]any) (answer, error)) error {
	var object map[string]any
	decoder := json.NewDecoder(os.Stdin)
	if err := decoder.Decode(&object); err != nil {
		return err
	}
	found, err := read(object)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func kstatus(object map[string]any) (answer, error) {
	// The library wants whole numbers.
	bytes, err := json.Marshal(object)
	if err != nil {
		return answer{}, err
	}
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(bytes); err != nil {
		return answer{}, err
	}
	result, err := status.Compute(&u)
	if err != nil {
		return answer{}, err
	}
	return answer{string(result.Status), result.Message}, nil
}

// As Argo CD does: the global obj is the object, of the libraries only some are open, and a table with status and message
// comes back.
func health(script string, object map[string]any) (answer, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath} {
		state.Push(state.NewFunction(open))
		state.Call(0, 0)
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return answer{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return answer{}, fmt.Errorf("the script returns no table but %s", state.Get(-1).Type())
	}
	status, ok := table.RawGetString("status").(lua.LString)
	if !ok {
		return answer{}, fmt.Errorf("the table has no status")
	}
	switch status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
	default:
		return answer{}, fmt.Errorf("%q is no health", status)
	}
	message, _ := table.RawGetString("message").(lua.LString)
	return answer{string(status), string(message)}, nil
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
