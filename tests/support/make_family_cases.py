#!/usr/bin/env python3
"""Writes tiny models of many configurations with transformers and torch, and their float64 logits,
in the form of the families' goldens, so that tests/family_golden_test walks over them:

    python tests/support/make_family_cases.py /tmp/cases
    QUALM_SHARED=/tmp/cases build/tests/family_golden_test

Each configuration is written as this version of transformers saves it (NAME_v5) and, where that can be
done, with the keys of version 4 (NAME_v4). Names on the command line choose cases by their beginning.
Made with transformers 5.24.0 and torch 2.15.0.
"""

import argparse
import copy
import json
import os
import shutil
import zlib

import torch
from transformers import AutoConfig, AutoModelForCausalLM

CASES = {}


def add(model_type, name, base, **changes):
    CASES[f"{model_type}_{name}"] = (model_type, dict(base, **changes))


# The table: sizes that families share, then what each case changes. A case has a line, however long.
# fmt: off
B=dict(vocab_size=128, bos_token_id=1, eos_token_id=2, pad_token_id=0)
L=dict(B,hidden_size=32,intermediate_size=48,num_hidden_layers=2,num_attention_heads=4,num_key_value_heads=2,max_position_embeddings=128,rms_norm_eps=0.003)
YARN={'rope_type':'yarn','factor':4.0,'original_max_position_embeddings':16,'rope_theta':10000.0}
YARN2=dict(YARN,mscale=0.7,mscale_all_dim=1.0,beta_fast=16,beta_slow=2,truncate=False)
LL3={'rope_type':'llama3','factor':8.0,'low_freq_factor':1.0,'high_freq_factor':4.0,'original_max_position_embeddings':32,'rope_theta':10000.0}
LIN={'rope_type':'linear','factor':2.5,'rope_theta':10000.0}
DYN={'rope_type':'dynamic','factor':3.0,'rope_theta':10000.0}
def LONG(n,o=None):
    rope={'rope_type':'longrope','short_factor':[1+0.1*i for i in range(n)],'long_factor':[2+0.5*i for i in range(n)],'rope_theta':10000.0}
    return rope if o is None else dict(rope,original_max_position_embeddings=o)
def SHARE(share): return {'rope_type':'default','rope_theta':10000.0,'partial_rotary_factor':share}
for mt in ['llama','mistral','qwen2','qwen3','seed_oss','ministral','granite','gemma','internlm3','ernie4_5','hunyuan_v1_dense','smollm3','glm','glm4','olmo2','exaone4','olmo','phi3']:
    b=dict(L)
    if mt=='olmo': b.pop('rms_norm_eps')
    add(mt,'heads6',b,num_attention_heads=6,num_key_value_heads=3,hidden_size=48) 
    add(mt,'mqa_tied',b,num_key_value_heads=1,tie_word_embeddings=True)
    add(mt,'untied',b,tie_word_embeddings=False)
    if mt not in('phi3','olmo','olmo2','exaone4','glm','glm4'): add(mt,'headdim',b,head_dim=16)
    if mt in('llama','qwen2','qwen3','seed_oss','olmo2','ernie4_5','hunyuan_v1_dense','internlm3','smollm3','olmo','granite','glm'):
        add(mt,'yarn',b,rope_parameters=YARN)
        add(mt,'yarn2',b,rope_parameters=YARN2)
        add(mt,'ll3',b,rope_parameters=LL3)
        add(mt,'lin',b,rope_parameters=LIN)
        add(mt,'dyn',b,rope_parameters=DYN)
for mt in ['llama','granite','smollm3']:
    add(mt,'biases',L,attention_bias=True,mlp_bias=True)
add('qwen3','bias',L,attention_bias=True)
add('gemma','bias',L,attention_bias=True,head_dim=16)
add('olmo2','bias',L,attention_bias=True)
add('hunyuan_v1_dense','bias',L,attention_bias=True)
add('hunyuan_v1_dense','alpha',L,rope_parameters={'rope_type':'dynamic','alpha':100.0,'factor':1.0,'rope_theta':10000.0})
add('glm','nobias',L,attention_bias=False)
add('glm4','nobias',L,attention_bias=False)
add('glm','partial',L,head_dim=16,rope_parameters=SHARE(0.25))
add('ernie4_5','bias',L,use_bias=True)
add('seed_oss','biases',L,attention_bias=False,attention_out_bias=True,mlp_bias=True)
add('internlm3','biases',L,attention_bias=True,mlp_bias=True)
add('mistral','window',L,sliding_window=9)
add('mistral','nowindow',L,sliding_window=None)
add('mistral','yarn',L,rope_parameters=YARN,sliding_window=None)
add('ministral','layers',L,num_hidden_layers=3,sliding_window=9,layer_types=['sliding_attention','full_attention','sliding_attention'])
add('ministral3','a',L,head_dim=16,rope_parameters={'rope_type':'yarn','factor':4.0,'original_max_position_embeddings':8,'beta_fast':32.0,'beta_slow':1.0,'mscale':1.0,'mscale_all_dim':1.0,'rope_theta':10000.0,'llama_4_scaling_beta':0.3},sliding_window=None)
add('ministral3','window',L,head_dim=16,rope_parameters={'rope_type':'yarn','factor':2.0,'original_max_position_embeddings':16,'rope_theta':10000.0,'llama_4_scaling_beta':0.1},sliding_window=7)
add('ministral3','default',L,head_dim=16)
for mt in ['qwen2','qwen3']:
    add(mt,'window',L,num_hidden_layers=3,use_sliding_window=True,sliding_window=9,max_window_layers=1)
    add(mt,'window0',L,use_sliding_window=True,sliding_window=9,max_window_layers=0)
    add(mt,'types',L,num_hidden_layers=3,use_sliding_window=True,sliding_window=9,layer_types=['sliding_attention','full_attention','sliding_attention'])
add('smollm3','window',L,num_hidden_layers=4,use_sliding_window=True,sliding_window=9)
add('smollm3','norope',L,num_hidden_layers=4,no_rope_layers=[0,1,0,1])
add('smollm3','interval',L,num_hidden_layers=4,no_rope_layer_interval=2)
G=dict(L,head_dim=12)
add('gemma2','a',G,num_hidden_layers=3,sliding_window=9,query_pre_attn_scalar=20,attn_logit_softcapping=4.0,final_logit_softcapping=5.0)
add('gemma2','nocaps',G,sliding_window=9,attn_logit_softcapping=None,final_logit_softcapping=None,attention_bias=True)
add('gemma2','types',G,num_hidden_layers=3,sliding_window=9,layer_types=['full_attention','sliding_attention','sliding_attention'],hidden_activation='gelu')
add('gemma3_text','a',G,num_hidden_layers=7,sliding_window=9,query_pre_attn_scalar=20)
add('gemma3_text','rope',G,num_hidden_layers=3,sliding_window=9,layer_types=['sliding_attention','full_attention','sliding_attention'],rope_parameters={'full_attention':{'rope_type':'linear','factor':8.0,'rope_theta':1000000.0},'sliding_attention':{'rope_type':'default','rope_theta':5000.0}})
add('gemma3_text','caps',G,num_hidden_layers=2,sliding_window=9,final_logit_softcapping=7.0,attn_logit_softcapping=3.0,attention_bias=True,tie_word_embeddings=False)
add('olmo3','a',L,num_hidden_layers=5,sliding_window=9,num_key_value_heads=2)
add('olmo3','yarn',L,num_hidden_layers=4,sliding_window=9,rope_parameters={'full_attention':dict(YARN,rope_theta=500000.0),'sliding_attention':{'rope_type':'default','rope_theta':500000.0}},attention_bias=True)
add('olmo3','theta',L,num_hidden_layers=4,sliding_window=9,rope_parameters={'full_attention':{'rope_type':'default','rope_theta':1000.0},'sliding_attention':{'rope_type':'default','rope_theta':100.0}})
O=dict(L); O.pop('rms_norm_eps')
add('olmo','clip',O,clip_qkv=0.7)
add('olmo','bias',O,attention_bias=True)
add('exaone4','win',L,num_hidden_layers=4,sliding_window=9,sliding_window_pattern=2)
add('exaone4','types',L,num_hidden_layers=3,sliding_window=9,layer_types=['sliding_attention','full_attention','sliding_attention'])
add('granite','mult',L,embedding_multiplier=3.0,logits_scaling=2.5,residual_multiplier=0.4,attention_multiplier=0.2)
add('phi3','window',L,sliding_window=9)
add('phi3','partial',L,rope_parameters=SHARE(0.75))
add('phi3','long_short',L,max_position_embeddings=256,original_max_position_embeddings=64,rope_parameters=LONG(4))
for f in (0.5,0.4,1.0):
    add('phi',f'p{int(f*10)}',dict(B,hidden_size=80 if f==0.4 else 32,intermediate_size=48,num_hidden_layers=2,num_attention_heads=4,max_position_embeddings=128,layer_norm_eps=0.003),rope_parameters=SHARE(f),qk_layernorm=(f==0.5),num_key_value_heads=2 if f==1.0 else 4)
C=dict(B,hidden_size=32,intermediate_size=48,num_hidden_layers=2,num_attention_heads=4,num_key_value_heads=2,max_position_embeddings=128,layer_norm_eps=0.003)
C0={k:v for k,v in C.items() if k!='layer_norm_eps'}
add('cohere','qk',C,use_qk_norm=True,logit_scale=0.3)
add('cohere','bias',C,attention_bias=True,num_attention_heads=8,num_key_value_heads=8)
add('cohere','untied',C,tie_word_embeddings=False)
add('cohere2','a',C,num_hidden_layers=5,sliding_window=9,attention_bias=True)
add('cohere2','types',C,num_hidden_layers=3,sliding_window=9,layer_types=['full_attention','sliding_attention','full_attention'])
S=dict(B,hidden_size=64,intermediate_size=40,num_hidden_layers=2,num_attention_heads=4,num_key_value_heads=2,max_position_embeddings=128,layer_norm_eps=0.003)
add('stablelm','a',S,qk_layernorm=True,use_parallel_residual=True)
add('stablelm','bias',S,use_qkv_bias=True,rope_parameters=SHARE(0.5))
add('stablelm','seqqk',S,qk_layernorm=True,use_qkv_bias=True,tie_word_embeddings=True)
add('starcoder2','nob',dict(C0,norm_epsilon=0.003),use_bias=False,sliding_window=None,tie_word_embeddings=False)
add('starcoder2','win',dict(C0,norm_epsilon=0.003),sliding_window=9,num_key_value_heads=1)
add('nemotron','a',dict(C0,norm_eps=0.003),attention_bias=True,mlp_bias=True,head_dim=12)
add('nemotron','p',dict(C0,norm_eps=0.003),rope_parameters=SHARE(0.25),hidden_size=64)
P=dict(B,hidden_size=32,intermediate_size=48,num_hidden_layers=2,num_attention_heads=4,max_position_embeddings=128,layer_norm_eps=0.003)
add('persimmon','noqk',P,qk_layernorm=False)
add('persimmon','p1',P,rope_parameters=SHARE(1.0))
X=dict(B,hidden_size=32,intermediate_size=48,num_hidden_layers=2,num_attention_heads=4,max_position_embeddings=128,layer_norm_eps=0.003)
add('gpt_neox','seq',X,use_parallel_residual=False)
add('gpt_neox','nob',X,attention_bias=False)
add('gpt_neox','full',X,rope_parameters={'rope_type':'default','rope_theta':500.0,'partial_rotary_factor':1.0},hidden_act='gelu_new')
add('gpt_neox','tied',X,tie_word_embeddings=True)
add('gpt_neox','lin',X,rope_parameters=dict(LIN,partial_rotary_factor=0.5))
T=dict(B,n_embd=32,n_layer=3,n_head=4,n_positions=64,layer_norm_epsilon=0.003)
add('gpt2','inv',T,scale_attn_by_inverse_layer_idx=True)
add('gpt2','noscale',T,scale_attn_weights=False,n_inner=40)
add('gpt2','untied',T,tie_word_embeddings=False)
add('gptj','a',T,rotary_dim=4,n_inner=40)
add('gptj','full',T,rotary_dim=8,n_head=4)
add('gptj','tied',T,rotary_dim=4,tie_word_embeddings=True)
add('codegen','a',T,rotary_dim=4)
add('codegen','h8',T,rotary_dim=2,n_head=8,n_inner=40)
N=dict(B,hidden_size=32,num_layers=4,num_heads=4,max_position_embeddings=64,layer_norm_epsilon=0.003)
add('gpt_neo','a',N,attention_types=[[['global','local'],2]],window_size=5)
add('gpt_neo','b',N,attention_types=[[['local'],3],[['global'],1]],window_size=7,intermediate_size=40)
BL=dict(B,hidden_size=40,n_layer=2,layer_norm_epsilon=0.003)
for h in (5,4,10,2): add('bloom',f'h{h}',BL,n_head=h,apply_residual_connection_post_layernorm=(h in (5,2)))
F=dict(B,hidden_size=32,num_hidden_layers=2,num_attention_heads=4,layer_norm_epsilon=0.003,max_position_embeddings=128)
add('falcon','40b',F,new_decoder_architecture=True,num_kv_heads=2)
add('falcon','11b',F,new_decoder_architecture=True,num_kv_heads=2,num_ln_in_parallel_attn=1,bias=False)
add('falcon','rw',F,alibi=True,multi_query=False,parallel_attn=False,bias=True)
add('falcon','rw8',F,alibi=True,multi_query=False,parallel_attn=False,bias=True,num_attention_heads=8)
add('falcon','rw6',dict(F,hidden_size=48),alibi=True,multi_query=False,parallel_attn=False,bias=True,num_attention_heads=6)
add('falcon','mh',F,multi_query=False,bias=True)
add('falcon','seq',F,parallel_attn=False)
add('falcon','alibi7b',F,alibi=True)
add('falcon','untied',F,tie_word_embeddings=False,ffn_hidden_size=40)
M=dict(d_model=40,n_layers=2,max_seq_len=64,vocab_size=128)
for h in (5,4,10): add('mpt',f'h{h}',M,n_heads=h,attn_config={'clip_qkv':0.6} if h==5 else ({'softmax_scale':0.3} if h==10 else {}))
OP=dict(B,hidden_size=32,num_hidden_layers=2,num_attention_heads=4,ffn_dim=48,max_position_embeddings=64)
add('opt','350m',OP,do_layer_norm_before=False,word_embed_proj_dim=16)
add('opt','noaff',OP,layer_norm_elementwise_affine=False)
add('opt','nobias',OP,enable_bias=False)
add('opt','nofinal',OP,_remove_final_layer_norm=True)
add('opt','untied',OP,tie_word_embeddings=False,activation_function='gelu')
add('llama','dyn16',L,max_position_embeddings=16,rope_parameters=DYN)
add('llama','long16',L,rope_parameters=LONG(4,16))
add('llama','long16f',L,rope_parameters=dict(LONG(4,16),factor=5.0))
add('phi3','long16',L,max_position_embeddings=128,original_max_position_embeddings=16,rope_parameters=LONG(4))
add('internlm3','dyn16',L,max_position_embeddings=16,rope_parameters=DYN)
add('olmo2','long16',L,rope_parameters=LONG(4,16))
add('gpt_neox','dyn16',dict(X,max_position_embeddings=16),rope_parameters=dict(DYN,partial_rotary_factor=0.5))
add('stablelm','yarn',dict(S),rope_parameters=dict(YARN,partial_rotary_factor=0.5))
add('falcon','dyn16',dict(F,max_position_embeddings=16),rope_parameters=DYN)
add('cohere','yarn',C,rope_parameters=YARN)
add('starcoder2','yarn',dict(C0,norm_epsilon=0.003),rope_parameters=YARN)
add('qwen2','default',L,num_key_value_heads=4)
add('glm4','yarn',L,head_dim=16,rope_parameters=dict(YARN,partial_rotary_factor=0.5))
add('nemotron','lin',dict(C0,norm_eps=0.003),rope_parameters=dict(LIN,partial_rotary_factor=0.5))
add('persimmon','lin',P,rope_parameters=dict(LIN,partial_rotary_factor=0.5))
# fmt: on


def older(config):
    """The configuration with the keys of version 4, or None if these cannot say it."""
    config = copy.deepcopy(config)
    # These families have other rotary keys, or were published with the newer ones.
    if config["model_type"] in ("gpt_neox", "ministral3"):
        return None
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    rotary = config.pop("rope_parameters", None)
    if rotary is not None:
        if any(isinstance(value, dict) for value in rotary.values()):
            return None
        config["rope_theta"] = rotary.pop("rope_theta", 10000.0)
        share = rotary.pop("partial_rotary_factor", None)
        if share is not None:
            config["partial_rotary_factor"] = share
        config["rope_scaling"] = None if rotary.get("rope_type", "default") == "default" else rotary
    config["transformers_version"] = "4.50.0"
    return config


def make_model(name, model_type, changes):
    """A model with random weights, wide enough that logits differ by much."""
    changes = copy.deepcopy(changes)
    if model_type in ("ministral", "hunyuan_v1_dense"):  # whose defaults do not run
        changes.setdefault("rope_parameters", {"rope_type": "default", "rope_theta": 10000.0})
        if not changes.get("head_dim"):
            changes["head_dim"] = changes["hidden_size"] // changes["num_attention_heads"]
    config = AutoConfig.for_model(model_type, **changes)
    # Falcon's eager code adds ALiBi twice, in the scores and in the mask.
    eager = not (model_type == "falcon" and changes.get("alibi"))
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager" if eager else "sdpa"
    )
    model.eval()

    torch.manual_seed(zlib.crc32(name.encode()))
    with torch.no_grad():
        for key, weight in model.named_parameters():
            noise = torch.randn_like(weight)
            if weight.dim() >= 2:
                is_table = any(part in key for part in ("embed", "wte", "wpe"))
                weight.copy_(noise if is_table else noise * 1.5 / weight.shape[-1] ** 0.5)
            else:
                weight.copy_(noise * 0.3 if key.endswith("bias") else weight + noise * 0.3)
        model.tie_weights()
    return model


def logits_of(model, count):
    """One sequence of random tokens as the goldens describe it."""
    ids = torch.randint(3, 128, (1, count))
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits[0]
    top = logits[-1].topk(10)
    return {
        "ids": ids[0].tolist(),
        "argmax": logits.argmax(-1).tolist(),
        "logits_l2": logits.norm(dim=-1).tolist(),
        "last_top10": {"ids": top.indices.tolist(), "logits": top.values.tolist()},
        "last_logits": logits[-1].tolist(),
    }


def write_case(root, name, model_type, changes):
    model = make_model(name, model_type, changes)
    folder = os.path.join(root, name + "_v5")
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    model = model.double()
    golden = {"case": name, "sequences": [logits_of(model, count) for count in (1, 7, 40)]}
    with open(os.path.join(folder, "golden.json"), "w") as file:
        json.dump(golden, file)

    with open(os.path.join(folder, "config.json")) as file:
        config = older(json.load(file))
    if config is None:
        return
    other = os.path.join(root, name + "_v4")
    shutil.rmtree(other, ignore_errors=True)
    os.makedirs(other)
    with open(os.path.join(other, "config.json"), "w") as file:
        json.dump(config, file, indent=1)
    for part in ("model.safetensors", "golden.json"):
        os.link(os.path.join(folder, part), os.path.join(other, part))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("names", nargs="*", help="beginnings of the cases to write; default: all")
    arguments = parser.parse_args()
    root = os.path.join(arguments.folder, "golden", "families-hf")
    os.makedirs(root, exist_ok=True)
    for name, (model_type, changes) in CASES.items():
        if not arguments.names or name.startswith(tuple(arguments.names)):
            write_case(root, name, model_type, changes)


if __name__ == "__main__":
    main()
