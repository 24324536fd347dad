# Everything about the state comes from the environment.
terraform {
  backend "http" {}
}

variable "workspace" {
  type = string
}

resource "terraform_data" "network" {
  input = "the network of ${var.workspace}"
}

output "network" {
  value = terraform_data.network.output
}
