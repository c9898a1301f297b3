package suite

import ("testing";"github.com/llm-speed/llm-speed/suites")
func TestBuiltIn(t *testing.T){
 fsys,err:=suites.Open("suite-v1"); if err!=nil {t.Fatal(err)}
 s,err:=Load(fsys); if err!=nil {t.Fatal(err)}
 t.Log(s.Digest, s.Workloads[2].Needs, s.Workloads[4].Params["turns"])
}
