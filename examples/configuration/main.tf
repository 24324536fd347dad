# Everything about the backend comes from the environment: the connection Secret's TF_HTTP_* variables.
terraform {
  backend "http" {}
}

variable "cidr" {
  default = "10.0.0.0/16"
}

variable "seconds" {
  description = "How long the apply takes, to look at its lock meanwhile."
  default     = 0
}

resource "terraform_data" "network" {
  input            = var.cidr
  triggers_replace = var.cidr

  provisioner "local-exec" {
    command = "sleep ${var.seconds}"
  }
}

output "cidr" {
  value = terraform_data.network.output
}
