package recordschema
import ("testing";"fmt")
func TestDump(t *testing.T) { b,err:=JSONSchema(".."); fmt.Println(string(b), err) }
