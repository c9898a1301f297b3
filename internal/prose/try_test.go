package prose
import ("testing";"os";"time")
func TestTry(t *testing.T){
 s,err:=Load(os.DirFS("../../suites/suite-v1"),"prose/1"); if err!=nil{t.Fatal(err)}
 t0:=time.Now(); x:=s.Text(1,"a",100000); t.Log(time.Since(t0),len(x),Words(x))
 t.Log(x[:6500]); t.Log(s.Salt(1,"q"), s.Task(3))
}
